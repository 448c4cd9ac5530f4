// Write here in a sentence what this guest pins: which instructions are hard for an unwinder, and why. What stands below is a
// function with a frame that calls one without; change it.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	li	a0, 5
	call	work
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC work
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	call	leaf				// the first place
	mv	s1, a0
	addi	a0, a0, 3
	call	leaf				// the second place
	add	a0, a0, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END work

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	slli	a1, a0, 3
	xor	a0, a0, a1
	andi	a0, a0, 0x7ff
	addi	a0, a0, -2
	ret
END leaf

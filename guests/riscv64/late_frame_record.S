// Every instruction of a prologue and an epilogue matters: between the entry of `late` and the instruction that makes s0
// point at the end of its record, and again between the reload of s0 and the return, a walk along frame records alone
// leaves out the caller.
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
	call	caller
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC caller
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	li	s1, 7
	call	late
	mv	a0, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END caller

// The record is stored and linked as late as it can be, and unlinked as early.
FUNC late
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	addi	a0, a0, 1
	sd	s1, 0(sp)
	.cfi_offset s1, -48
	sd	s2, 8(sp)
	.cfi_offset s2, -40
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	sd	ra, 40(sp)			// RA=[cfa-8]; s0 still holds the caller's value
	.cfi_offset ra, -8
	mv	s1, a0
	addi	s0, sp, 48			// CFA=s0: the record is linked
	.cfi_def_cfa s0, 0
	mv	s2, a0
	call	leaf
	add	a0, a0, s1
	ld	s0, 32(sp)			// CFA=sp+48: unlinked
	.cfi_def_cfa sp, 48; .cfi_restore s0
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	add	a0, a0, s2
	ld	s1, 0(sp)
	.cfi_restore s1
	ld	s2, 8(sp)
	.cfi_restore s2
	addi	a0, a0, 1
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END late

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

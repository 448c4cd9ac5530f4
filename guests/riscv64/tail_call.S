// Tail calls in the shape of memset -> memset_generic: `fill` has no frame and jumps to `fill_generic`; `fill_framed` had a
// frame, removes it and then jumps. `fill_generic` returns straight to `caller`: until the jump, `fill` or `fill_framed`
// belongs in the trace; after it the function is rightly gone.
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

// A frame of 48 bytes: the record and 32 bytes to fill.
FUNC caller
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	a0, sp
	li	a1, 0x11
	li	a2, 16
	call	fill
	mv	a0, sp
	li	a1, 0x22
	li	a2, 0
	call	fill				// nothing to fill: `fill` returns itself
	addi	a0, sp, 16
	li	a1, 0x33
	li	a2, 16
	call	fill_framed
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END caller

// a0: address, a1: value, a2: bytes, a multiple of 8. Returns the address.
FUNC fill
						// CFA=sp RA=ra
	beqz	a2, 1f
	j	fill_generic			// not a call: `fill` is gone
1:
	ret
END fill

// As `fill`, but makes a call first.
FUNC fill_framed
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	sd	a0, 0(sp)
	sd	a1, 8(sp)
	mv	a0, a2
	call	round_down
	mv	a2, a0
	ld	a0, 0(sp)
	ld	a1, 8(sp)
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	tail	fill_generic			// two instructions through t1; after the second one `fill_framed` is gone
END fill_framed

// a0: bytes. Returns them, rounded down to a multiple of 8.
FUNC round_down
						// CFA=sp RA=ra
	andi	a0, a0, -8
	ret
END round_down

FUNC fill_generic
						// CFA=sp RA=ra
	mv	a3, a0
1:
	sd	a1, 0(a3)
	addi	a3, a3, 8
	addi	a2, a2, -8
	bnez	a2, 1b
	ret
END fill_generic

// BROKEN ON PURPOSE. `clobber` overwrites s1 without saving it on the stack: it keeps the old value in t1 and returns with
// the wrong one; `caller` restores it with the third instruction after the return. Every return address is in order, so no
// comparison of return addresses can detect it. The oracle's register witness must: s1 at the return of `clobber` is not
// what it was at the call. No other return of this guest is wrong.
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
	li	a0, 1
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
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	li	s1, 7
	call	clobber				// returns with the wrong s1
	addi	a0, a0, 1
	slli	a0, a0, 1
	mv	s1, t1				// s1 is right again
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
END caller

FUNC clobber
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	leaf
	mv	t1, s1
	li	s1, 99				// the fault: not saved, not restored
	add	a0, a0, s1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END clobber

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

// BROKEN ON PURPOSE. `victim` overwrites both words of its own linked frame record and restores them. At exactly three
// instructions the RA word in memory points into `bystander` (right after a call there, so it looks like any return
// address), and at the middle one of the three the FP word also skips the record of `caller`. `bystander` never runs: a
// walk along frame records must be wrong about it at these three instructions and at no others. (What such a walk leaves
// out in prologues, epilogues and leaves is another matter.) The return itself is in order.
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
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	victim
	addi	a0, a0, 1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END caller

FUNC victim
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
	ld	t1, -16(s0)			// the true FP word: the end of the record of `caller`
	ld	t2, -8(s0)			// the true RA word
	ld	t3, -16(t1)			// the end of the record of guest_main
	lla	t4, .Lbehind_a_call
	sd	t4, -8(s0)			// RA=t2 only; the RA word is wrong
	.cfi_register ra, t2
	sd	t3, -16(s0)			// both words are wrong
	.cfi_register s0, t1
	sd	t1, -16(s0)			// the RA word is wrong
	.cfi_offset s0, -16
	sd	t2, -8(s0)			// RA=[cfa-8]: the record is right again
	.cfi_offset ra, -8
	addi	a0, a0, 1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END victim

FUNC bystander
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
.Lbehind_a_call:
	addi	a0, a0, 2
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END bystander

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

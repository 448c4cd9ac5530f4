//@ build museum_push_order-defective: -DRA=-8 -DS0=-16 -DS1=-24
//@ build museum_push_order-s1: -DRA=-24 -DS0=-16 -DS1=-40
//@ build museum_push_order-fixed: -DRA=-24 -DS0=-16 -DS1=-8
// cm.push {ra, s0-s1}, written out: the registers go to the top of the frame, downwards in the order s1, s0, ra. The defective build
// has the rows of ordinary prologues; in build `s1` they are wrong for s1 alone.
#include "guest.h"

FUNC guest_main
	addi	sp, sp, -16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	li	a0, 3
	li	s0, 77
	call	user
	ld	ra, 8(sp)
	.cfi_restore ra
	ld	s0, 0(sp)
	.cfi_restore s0
	addi	sp, sp, 16
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC user
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	s1, 24(sp)
	sd	s0, 16(sp)
	sd	ra, 8(sp)
	.cfi_offset ra, RA; .cfi_offset s0, S0; .cfi_offset s1, S1
	mv	s1, a0
	mv	s0, a0
	call	leaf
	add	a0, a0, s1
	ld	s1, 24(sp)
	.cfi_restore s1
	ld	s0, 16(sp)
	.cfi_restore s0
	ld	ra, 8(sp)
	.cfi_restore ra
	addi	sp, sp, 32
	.cfi_def_cfa_offset 0
	ret
END user

FUNC leaf
	addi	a0, a0, 1
	ret
END leaf

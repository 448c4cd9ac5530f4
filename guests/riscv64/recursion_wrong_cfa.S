// BROKEN ON PURPOSE. One function waits for itself, and at one instruction its row gives a CFA that is too high by a whole
// frame. The return address is right, and equal to that of the next activation, and so is the CFA: the walk names that
// activation twice and this one not at all. Only the CFAs tell the two apart, for all pcs are right.
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
	li	a0, 3
	call	descend
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC descend
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	li	a1, 0
	.cfi_remember_state
	.cfi_def_cfa_offset 16; .cfi_offset s0, -32; .cfi_offset ra, -24
	addi	a0, a0, -1			// the CFA is s0, and not s0+16
	.cfi_restore_state
	beqz	a0, 1f
	call	descend
1:	addi	a1, a1, 1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END descend

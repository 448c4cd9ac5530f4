//@ start none
//@ build overflow:
//@ build overflow-metadata: -DMETADATA
// An exception for which the stack has no room: the entry goes to the overflow stack, without a metadata record in either
// form, and does not return. Further up the chain exceptions are taken as usual.
#include "kernel.S"

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
	call	recurse
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

// a0: how many more of these calls.
FUNC recurse
						// CFA=sp RA=ra
	addi	sp, sp, -64			// CFA=sp+64
	.cfi_def_cfa_offset 64
	sd	ra, 56(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 48(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 64			// CFA=s0
	.cfi_def_cfa s0, 0
	addi	a0, a0, -1
	beqz	a0, 1f
	call	recurse
	j	2f
1:	call	deep
2:
	ld	ra, 56(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 48(sp)			// CFA=sp+64
	.cfi_def_cfa sp, 64; .cfi_restore s0
	addi	sp, sp, 64			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END recurse

// Takes sp to 192 bytes above the end of the stack in one step, so that no exception finds sp where pt_regs still fits but
// what the handlers push does not.
FUNC deep
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	ld	t0, __stack_task_low		// two instructions
	addi	t0, t0, 192
	mv	sp, t0				// from here on pt_regs does not fit
	call	last
	addi	sp, s0, -16			// CFA=sp+16 too; it fits again
	.cfi_def_cfa sp, 16
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END deep

FUNC last
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
	addi	a0, a0, 1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END last

FUNC leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

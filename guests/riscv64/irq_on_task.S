//@ start none
//@ build irq_on_task:
//@ build irq_on_task-metadata: -DMETADATA
// Interrupted on its task's stack: a function with a frame record, a leaf without one, callee-saved registers in use. Every
// handler runs on the IRQ stack, and pt_regs on the task stack leads back.
#include "kernel.S"

FUNC guest_main
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
	li	a0, 5
	call	work
	mv	s1, a0
	call	work
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
	mv	s1, a0
	call	leaf
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
	slli	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

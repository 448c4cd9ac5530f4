//@ start none
//@ build irq_in_softirq:
//@ build irq_in_softirq-metadata: -DMETADATA
// Interrupted while a softirq runs on the IRQ stack, called from task context: the handlers stay on the IRQ stack, and the
// interrupted chain leads from there to the task stack.
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
	lla	a0, softirq
	call	do_softirq_own_stack
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC softirq
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
	li	a0, 3
	call	leaf
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
END softirq

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

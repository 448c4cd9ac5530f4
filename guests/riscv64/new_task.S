//@ start none
//@ build new_task:
//@ build new_task-metadata: -DMETADATA
// A task that was forked and has not run yet is walked; then it runs for the first time, and interrupts arrive at its first
// instructions.
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
	lla	a0, task_other
	call	walk_task
	call	schedule
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

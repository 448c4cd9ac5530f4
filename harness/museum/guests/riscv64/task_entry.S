//@ build task_entry-defective: -DDEFECTIVE
//@ build task_entry-fixed:
// The first context of a task: the switch returns to the task's entry, so ra is the entry itself when it runs, and a walk that believes
// it finds the entry below the entry. The fixed build says that there is no caller.
#include "pair.h"

STACK task_b, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
task_sp: .quad 0
	.popsection

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	// The context of the task: {ra, s0} at the top of its stack
	la	a0, __stack_task_b_high
	ld	a0, 0(a0)
	addi	a0, a0, -16
	la	a1, task_entry
	sd	a1, 0(a0)
	sd	zero, 8(a0)
	la	a1, task_sp
	sd	a0, 0(a1)
	la	a0, main_sp
	call	switch_to
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

// Saves {ra, s0} below sp and its place at a0, and goes on with what stands at a1.
FUNC switch_to
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 0(sp)			// RA=[cfa-16]
	.cfi_offset ra, -16
	sd	s0, 8(sp)
	.cfi_offset s0, -8
	sd	sp, 0(a0)
	ld	sp, 0(a1)			// the same of the other stack
	ld	ra, 0(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 8(sp)
	.cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END switch_to

FUNC task_entry
	FIX(.cfi_undefined ra)
	li	a0, 1
	addi	a0, a0, 1
	la	a0, task_sp
	la	a1, main_sp
	call	switch_to
	ebreak
END task_entry

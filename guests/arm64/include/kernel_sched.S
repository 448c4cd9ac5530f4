// Tasks of the small kernel: switching, forking, ending. Part of kernel.S.

// x0: previous task, x1: next task; __entry_task is the next one already. Returns in the next task, with the previous one in x0. The interrupt mask is not
// switched: each task resumes at a place that sets its own.
CODE cpu_switch_to
							// CFA=sp RA=x30
	mrs	x11, daif
	msr	daifset, #15
	add	x8, x0, #TASK_CONTEXT
	mov	x9, sp
	stp	x19, x20, [x8, #0]
	stp	x21, x22, [x8, #16]
	stp	x23, x24, [x8, #32]
	stp	x25, x26, [x8, #48]
	stp	x27, x28, [x8, #64]
	stp	x29, x9, [x8, #80]
	str	x30, [x8, #96]
	add	x8, x1, #TASK_CONTEXT
	adr	x10, __current
	ldp	x19, x20, [x8, #0]
	ldp	x21, x22, [x8, #16]
	ldp	x23, x24, [x8, #32]
	ldp	x25, x26, [x8, #48]
	ldp	x27, x28, [x8, #64]
	ldp	x29, x9, [x8, #80]			// CFA=sp (the previous task's), x29 the next task's
	ldr	x30, [x8, #96]				// RA=x30, the next task's
	mov	sp, x9					// CFA=sp, the next task's
	str	x1, [x10]				// for the harness: whose stack this is
	msr	sp_el0, x1				// current
	msr	daif, x11
	ret
END_CODE cpu_switch_to

FUNC context_switch
							// CFA=sp RA=x30
	ENTER
	bl	cpu_switch_to
	LEAVE
END context_switch

// Switches to the task that is not running. Interrupts are masked from the choice until the switch is done.
FUNC schedule
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mrs	x19, daif
	msr	daifset, #3
	mrs	x0, sp_el0
	adr	x1, task_boot
	adr	x2, task_other
	cmp	x0, x1
	csel	x1, x2, x1, eq
	adr	x2, __entry_task
	str	x1, [x2]				// firmware events take the next task for the running one from here on
	bl	context_switch
	msr	daif, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END schedule

// Called at the end of an interrupt, before its registers are restored.
FUNC preempt_schedule_irq
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #15
	bl	schedule
	msr	daifset, #15
	LEAVE
END preempt_schedule_irq

// x0: function, x1: its argument. Makes task_other a kernel thread that has not run: its pt_regs is zero except for a
// status that cannot be returned to and the outermost record.
FUNC copy_thread
							// CFA=sp RA=x30
	adr	x2, task_other
	stp	x0, x1, [x2, #TASK_CONTEXT]		// x19 and x20
	stp	xzr, xzr, [x2, #TASK_CONTEXT + 16]
	stp	xzr, xzr, [x2, #TASK_CONTEXT + 32]
	stp	xzr, xzr, [x2, #TASK_CONTEXT + 48]
	stp	xzr, xzr, [x2, #TASK_CONTEXT + 64]
	ldr	x3, [x2, #TASK_HIGH]
	sub	x4, x3, #PT_SIZE
	mov	x5, x4
1:	stp	xzr, xzr, [x5], #16
	cmp	x5, x3
	b.lo	1b
	mov	x5, #0x100000
	str	x5, [x4, #PT_PSTATE]
	mov	x5, #TYPE_FINAL
	str	x5, [x4, #PT_TYPE]
	add	x5, x4, #PT_RECORD
	stp	x5, x4, [x2, #TASK_FP]			// and SP
	adr	x5, ret_from_fork
	str	x5, [x2, #TASK_PC]
	ret
END copy_thread

// Where a new task starts. x19: function or 0, x20: its argument, x29: the outermost record, SP: pt_regs.
CODE ret_from_fork
	bl	schedule_tail
	cbz	x19, 1f
	mov	x0, x20
	blr	x19
1:	mrs	x28, sp_el0				// a thread that has become a user process
	mov	x0, sp
	bl	asm_exit_to_user_mode
	b	ret_to_user
END_CODE ret_from_fork

// x0: pt_regs. The C part of the way to user mode, for a task that has not come from there.
FUNC asm_exit_to_user_mode
							// CFA=sp RA=x30
	ENTER
	msr	daifset, #15
	LEAVE
END asm_exit_to_user_mode

// What `schedule` does after the switch, for a task that did not come through it.
FUNC schedule_tail
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #15
	LEAVE
END schedule_tail

// x0: the other task. For ever: has the task walked that was switched out, and switches back.
FUNC checker
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
1:	mov	x0, x19
	bl	walk_task
	bl	schedule
	b	1b
END checker

// The end of task_other: it never returns.
FUNC do_exit
							// CFA=sp RA=x30
	ENTER
	adr	x0, other_done
	mov	x1, #1
	str	x1, [x0]
1:	bl	schedule
	b	1b
END do_exit

// The boot task has nothing to do until task_other has ended. Each time it runs, it has task_other walked.
FUNC wait_for_other
							// CFA=sp RA=x30
	ENTER
1:	bl	schedule
	adr	x0, task_other
	bl	walk_task
	adr	x0, other_done
	ldr	x0, [x0]
	cbz	x0, 1b
	LEAVE
END wait_for_other

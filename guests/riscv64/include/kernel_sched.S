// Tasks: context switch, fork, and the checker. Part of kernel.S. There are two tasks, task_boot and task_other.

// Lets the other task run.
FUNC schedule
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
	csrrci	s1, sstatus, SR_SIE
	andi	s1, s1, SR_SIE
	mv	a0, tp
	lla	a1, task_other
	bne	a0, a1, 1f
	lla	a1, task_boot
1:	call	context_switch
	csrs	sstatus, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END schedule

// a0: the running task, a1: the next one. Interrupts are off.
FUNC context_switch
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	__switch_to
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END context_switch

// a0: the running task, a1: the next one. Returns in the next one, with the previous task in a0.
CODE __switch_to
						// CFA=sp RA=ra
	sd	ra, TASK_RA(a0)
	sd	sp, TASK_SP(a0)
	sd	s0, TASK_S0(a0)
	sd	s1, TASK_S1(a0)
	.irp	n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	sd	s\n, (TASK_S0 + 8 * \n)(a0)
	.endr
	csrr	s0, sstatus			// s0 is no frame pointer
	sd	s0, TASK_SUM(a0)
	ld	s0, TASK_SUM(a1)
	li	s1, SR_SUM
	and	s0, s0, s1
	csrs	sstatus, s0
	lla	t0, __current
	ld	ra, TASK_RA(a1)			// RA is the next task's, the CFA still this one's
	ld	sp, TASK_SP(a1)			// CFA=sp RA=ra of the next task
	sd	a1, 0(t0)			// for the harness: whose stack this is
	ld	s0, TASK_S0(a1)			// s0 is the next task's frame pointer
	ld	s1, TASK_S1(a1)
	.irp	n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	ld	s\n, (TASK_S0 + 8 * \n)(a1)
	.endr
	mv	tp, a1				// current
	ret
END_CODE __switch_to

// a0: the new task, a1: its function, a2: the argument. Makes a kernel thread that has not run yet.
FUNC copy_thread
						// CFA=sp RA=ra
	ld	t0, TASK_HIGH(a0)
	addi	t1, t0, -PT_SIZE		// pt_regs of the new task
1:	addi	t0, t0, -8
	sd	zero, 0(t0)
	bne	t0, t1, 1b
	li	t0, SR_SPP | SR_SPIE
	sd	t0, PT_STATUS(t1)
	lla	t0, ret_from_fork_kernel_asm
	sd	t0, TASK_RA(a0)
	sd	t1, TASK_SP(a0)
#ifdef METADATA
	li	t0, TYPE_FINAL
	sd	t0, PT_TYPE(t1)
	addi	t1, t1, PT_TYPE
	sd	t1, TASK_S0(a0)			// above the record that ends every chain of this task
	sd	a1, TASK_S2(a0)
	sd	a2, TASK_S3(a0)
#else
	sd	a1, TASK_S0(a0)			// the function takes the frame pointer's place
	sd	a2, TASK_S1(a0)
#endif
	ret
END copy_thread

// The first instruction that a kernel thread runs.
CODE ret_from_fork_kernel_asm
						// no caller: neither CFA nor RA
	call	schedule_tail
#ifdef METADATA
	mv	a0, s3
	mv	a1, s2
#else
	mv	a0, s1
	mv	a1, s0
#endif
	mv	a2, sp
	call	ret_from_fork_kernel
	j	ret_from_exception
END_CODE ret_from_fork_kernel_asm

// a0: the argument, a1: the function.
FUNC ret_from_fork_kernel
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	jalr	a1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END ret_from_fork_kernel

// What a new task does before anything else: the end of the schedule() that switched to it.
FUNC schedule_tail
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	csrsi	sstatus, SR_SIE
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END schedule_tail

// The second task: for ever, has the task walked from which it was switched to.
FUNC checker
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
1:	lla	a0, task_boot
	call	walk_task
	call	schedule
	j	1b
END checker

// a0: a task that is switched out. The harness walks it here.
FUNC walk_task
						// CFA=sp RA=ra
	ret
END walk_task

// The way to user mode. A guest includes it after kernel.S.

// a0: where user mode begins. Sends the task there as a fork sends a new process: pt_regs at the high end of its stack, s0
// and sp as a task switch would load them. Does not return, and drops what is on the stack.
CODE start_user
						// CFA=sp RA=ra
	ld	t1, TASK_HIGH(tp)
	addi	t1, t1, -PT_SIZE
	addi	t0, t1, PT_REGS_END		// all but the metadata form's record, which stays: a fork's is the parent's
1:	addi	t0, t0, -8
	sd	zero, 0(t0)
	bne	t0, t1, 1b
	sd	a0, PT_EPC(t1)
	ld	t0, __stack_user_high
	sd	t0, PT_SP(t1)
	ld	t0, __stack_user_low
	sd	t0, PT_TP(t1)			// thread-local data: not 0, because 0 in sscratch says "kernel"
	li	t0, SR_SPIE			// to user mode, with interrupts on
	sd	t0, PT_STATUS(t1)
	csrci	sstatus, SR_SIE			// as a task switch leaves it
#ifdef METADATA
	addi	s0, t1, PT_TYPE
#else
	li	s0, 0
#endif
	mv	sp, t1				// no caller from here on: neither CFA nor RA
	j	ret_from_fork_user_asm
END_CODE start_user

// The first instruction that a new process runs.
CODE ret_from_fork_user_asm
						// no caller: neither CFA nor RA
	call	schedule_tail
	mv	a0, sp
	call	ret_from_fork_user
	j	ret_from_exception
END_CODE ret_from_fork_user_asm

// a0: pt_regs.
FUNC ret_from_fork_user
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	csrci	sstatus, SR_SIE			// as on every way to user mode
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END ret_from_fork_user

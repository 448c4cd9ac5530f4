// Tasks: switches, the first run of a task, its first return to user mode.

// rdi: the struct task, rsi and rdx: the ends of its stack, rcx: the function that it will run, r8: its argument. Below an
// empty pt_regs the stack gets what __switch_to_asm pops.
FUNC fork_task
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	%rsi, TASK_LOW(%rdi)
	movq	%rdx, TASK_HIGH(%rdi)
	movl	$REGS_SIZE / 8, %eax
.Lzero_regs:
	subq	$8, %rdx
	movq	$0, (%rdx)
	decl	%eax
	jnz	.Lzero_regs			// rdx = its task_pt_regs
	leaq	OTHER_ENTRY(%rip), %rax
	movq	%rax, -8(%rdx)
	leaq	1(%rdx), %rax
	movq	%rax, -16(%rdx)			// rbp
	movq	%rcx, -24(%rdx)			// rbx
	movq	%r8, -32(%rdx)			// r12
	movq	$0, -40(%rdx)
	movq	$0, -48(%rdx)
	movq	$0, -56(%rdx)
	leaq	-56(%rdx), %rax
	movq	%rax, TASK_SP(%rdi)
	LEAVE
END fork_task

// Gives the CPU to the other task.
FUNC schedule
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
.Lschedule_again:
	addq	$COUNT_PREEMPT, preempt_count(%rip)
	call	__schedule
	subq	$COUNT_PREEMPT, preempt_count(%rip)
	cmpq	$0, need_resched(%rip)
	jne	.Lschedule_again
	LEAVE
END schedule

// The same at the end of an interrupt, which must finish with interrupts off.
FUNC preempt_schedule_irq
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
.Lpreempt_again:
	addq	$COUNT_PREEMPT, preempt_count(%rip)
	call	__schedule			// returns with interrupts on
	cli
	subq	$COUNT_PREEMPT, preempt_count(%rip)
	cmpq	$0, need_resched(%rip)
	jne	.Lpreempt_again
	LEAVE
END preempt_schedule_irq

// Subtracts rdi from preempt_count, and makes up for a preemption that was not allowed until now.
FUNC preempt_enable
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	subq	%rdi, preempt_count(%rip)
	jnz	.Lstill_disabled
	cmpq	$0, need_resched(%rip)
	je	.Lstill_disabled
	call	schedule
.Lstill_disabled:
	LEAVE
END preempt_enable

FUNC __schedule
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	cli
	movq	$0, need_resched(%rip)
	movq	current_task(%rip), %rdi
	leaq	task_other(%rip), %rsi
	leaq	task_boot(%rip), %rax
	cmpq	%rdi, %rsi
	cmoveq	%rax, %rsi
	call	context_switch
	sti
	LEAVE
END __schedule

// Switches from the task in rdi to the task in rsi.
FUNC context_switch
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	__switch_to_asm			// returns when this task is switched to
	LEAVE
END context_switch

// No frame record: what it pushes is the inactive_task_frame.
FUNC __switch_to_asm
						// CFA=rsp+8 RA=[cfa-8]
#ifdef BUG_SWITCH_HINT				// the museum: one hint for all of it
	ORC_FUNC
#endif
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	pushq	%rbx				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_offset %rbx, -24
	pushq	%r12				// CFA=rsp+32
	.cfi_def_cfa_offset 32; .cfi_offset %r12, -32
	pushq	%r13				// CFA=rsp+40
	.cfi_def_cfa_offset 40; .cfi_offset %r13, -40
	pushq	%r14				// CFA=rsp+48
	.cfi_def_cfa_offset 48; .cfi_offset %r14, -48
	pushq	%r15				// CFA=rsp+56
	.cfi_def_cfa_offset 56; .cfi_offset %r15, -56
	movq	%rsp, TASK_SP(%rdi)
	movq	TASK_SP(%rsi), %rsp		// CFA=rsp+56 of the next task
	movq	%rsi, __current(%rip)		// a kernel stores the canary here; what it calls current changes in __switch_to
	popq	%r15				// CFA=rsp+48
	.cfi_def_cfa_offset 48; .cfi_restore %r15
	popq	%r14				// CFA=rsp+40
	.cfi_def_cfa_offset 40; .cfi_restore %r14
	popq	%r13				// CFA=rsp+32
	.cfi_def_cfa_offset 32; .cfi_restore %r13
	popq	%r12				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_restore %r12
	popq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	jmp	__switch_to
END __switch_to_asm

// Returns the task that was switched out.
FUNC __switch_to
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	%rsi, current_task(%rip)
	movq	TASK_HIGH(%rsi), %rax
	movq	%rax, cpu_current_top_of_stack(%rip)
	movq	%rdi, %rax
	LEAVE
END __switch_to

// The first instructions of a new task, which was not called: REGS=rsp, rbp=regs|1, rbx: a kthread's function, r12: its
// argument.
CODE ret_from_fork_asm
	ORC_END_OF_STACK
	movq	%rax, %rdi
	movq	%rsp, %rsi
	movq	%rbx, %rdx
	movq	%r12, %rcx
	call	ret_from_fork
	ORC_REGS				// filled in by now
	jmp	swapgs_restore_regs_and_return_to_usermode
END_CODE ret_from_fork_asm

// rdi: the task that was switched out, rsi: pt_regs, rdx: a function that fills pt_regs in or never returns, rcx: its
// argument.
FUNC ret_from_fork
						// CFA=rsp+8 RA=[cfa-8]
	ENTER					// the last record: at task_pt_regs - 16
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	movq	%rsi, %r13
	movq	%rdx, %rbx
	movq	%rcx, %r12
	call	schedule_tail
	testq	%rbx, %rbx
	jz	.Luser_task
	movq	%r12, %rdi
	call	*%rbx
	movq	$0, REGS_RAX(%r13)
.Luser_task:
	call	exit_to_user_mode
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END ret_from_fork

// rdi: the task that was switched out.
FUNC schedule_tail
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	sti					// the switch was made with interrupts off
	movl	$COUNT_PREEMPT, %edi
	call	preempt_enable
	LEAVE
END schedule_tail

// For ever: has the task walked that was switched out for this one.
FUNC checker
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
.Lcheck:
	leaq	task_boot(%rip), %rdi
	call	walk_task
	call	schedule
	jmp	.Lcheck
END checker

// The end of task_other: it gives up the CPU whenever it gets it.
FUNC do_exit
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	$1, other_exited(%rip)
.Lexited:
	call	schedule
	jmp	.Lexited
END do_exit

// Makes the running task's pt_regs start user mode at rdi.
FUNC start_thread
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	cpu_current_top_of_stack(%rip), %rax
	movq	%rdi, REGS_RIP-REGS_SIZE(%rax)
	movq	$USER_CS, REGS_CS-REGS_SIZE(%rax)
	movq	$RFLAGS_IF+2, REGS_RFLAGS-REGS_SIZE(%rax)
	movq	__stack_user_high(%rip), %rdi
	movq	%rdi, REGS_RSP-REGS_SIZE(%rax)
	movq	$USER_DS, REGS_SS-REGS_SIZE(%rax)
	LEAVE
END start_thread

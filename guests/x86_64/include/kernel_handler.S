// What the entries call, up to the stack walk.

// The harness walks the stack when this function is entered. rdi: the innermost pt_regs, or 0.
FUNC walk_here
						// CFA=rsp+8 RA=[cfa-8]
	ret
END walk_here

// The harness walks the stack of the task in rdi, which is switched out.
FUNC walk_task
						// CFA=rsp+8 RA=[cfa-8]
	ret
END walk_task

#ifdef WALKS_USER
// The harness walks the user stack. rdi: the pt_regs of the entry from user mode.
FUNC walk_user
						// CFA=rsp+8 RA=[cfa-8]
	ret
END walk_user
#endif

// rdi: pt_regs. An interrupt of kernel code is handled on the IRQ stack, unless that is in use.
FUNC common_interrupt
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	testb	$3, REGS_CS(%rdi)
	jnz	.Lon_this_stack
	cmpq	$0, hardirq_stack_inuse(%rip)
	jne	.Lon_this_stack
	movq	$1, hardirq_stack_inuse(%rip)
	movq	hardirq_stack_ptr(%rip), %r11
	ON_IRQ_STACK				// CFA, RA and rbp on the other one
	call	irq_enter_rcu
	movq	%rbx, %rdi
	call	do_irq
	call	irq_exit_rcu
	OFF_IRQ_STACK
	movq	$0, hardirq_stack_inuse(%rip)
	jmp	.Lhandled
.Lon_this_stack:
	call	irq_enter_rcu
	movq	%rbx, %rdi
	call	do_irq
	call	irq_exit_rcu
.Lhandled:
	movq	%rbx, %rdi
	call	irqentry_exit
	RESTORE	%rbx
	LEAVE
END common_interrupt

FUNC irq_enter_rcu
						// CFA=rsp+8 RA=[cfa-8]
	addq	$COUNT_HARDIRQ, preempt_count(%rip)
	ret
END irq_enter_rcu

FUNC irq_exit_rcu
						// CFA=rsp+8 RA=[cfa-8]
	subq	$COUNT_HARDIRQ, preempt_count(%rip)
	ret
END irq_exit_rcu

FUNC do_irq
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
#ifdef IRQ_TRACED
	call	traced_handler
#else
	call	walk_here
#endif
	LEAVE
END do_irq

// rdi: pt_regs, rsi: the error code. Returns to the same instruction.
FUNC exc_page_fault
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	call	do_fault
	movq	%rbx, %rdi
	call	irqentry_exit
	RESTORE	%rbx
	LEAVE
END exc_page_fault

FUNC do_fault
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	walk_here
	LEAVE
END do_fault

// An exception on a stack of its own, which can come from either mode: only on the way to user mode is there work to do.
.macro PARANOID_HANDLER what
FUNC exc_\what
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	call	do_\what
	testb	$3, REGS_CS(%rbx)
	jz	.Lparanoid_done\@
	movq	%rbx, %rdi
	call	irqentry_exit
.Lparanoid_done\@:
	RESTORE	%rbx
	LEAVE
END exc_\what

FUNC do_\what
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	cmpq	$0, %gs:0			// with a user's GS base it would fault
	call	walk_here
	LEAVE
END do_\what
.endm

	PARANOID_HANDLER nmi
	PARANOID_HANDLER debug

// A kernel panics here. So does this one once a guest has requested it: the instruction that found no room would find none
// again.
FUNC exc_double_fault
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	walk_here
	cmpq	$0, overflow_is_fatal(%rip)
	jne	__sentinel			// the run ends
	LEAVE
END exc_double_fault

// rdi: the pt_regs that will be returned to. Reschedules first, where that is requested and allowed: always before user
// mode; in kernel code if it had interrupts on and was not in an interrupt, in a softirq or in the scheduler.
FUNC irqentry_exit
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	testb	$3, REGS_CS(%rdi)
	jz	.Lexit_to_kernel
	call	exit_to_user_mode
	jmp	.Lexit_done
.Lexit_to_kernel:
	testl	$RFLAGS_IF, REGS_RFLAGS(%rdi)
	jz	.Lexit_done
	cmpq	$0, preempt_count(%rip)
	jne	.Lexit_done
	cmpq	$0, need_resched(%rip)
	je	.Lexit_done
	call	preempt_schedule_irq
.Lexit_done:
	LEAVE
END irqentry_exit

// rdi: the pt_regs that will be returned to.
FUNC exit_to_user_mode
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
#ifdef WALKS_USER
	call	walk_user
#endif
	cli
	cmpq	$0, %gs:0			// likewise
	jmp	.Lmore_work
.Luser_work:
	sti
	call	schedule
	cli
.Lmore_work:
	cmpq	$0, need_resched(%rip)
	jne	.Luser_work
	LEAVE
END exit_to_user_mode

// rdi: pt_regs, rsi: the number. 0 walks the stack and returns the first argument plus 1; everything else ends the task.
FUNC do_syscall_64
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	sti
	testq	%rsi, %rsi
	jnz	.Lexit_task
	call	sys_walk
	movq	%rax, REGS_RAX(%rbx)
#ifdef WALKS_USER
	movq	%rbx, %rdi
#endif
	call	exit_to_user_mode
	.cfi_remember_state
	RESTORE	%rbx
	LEAVE
.Lexit_task:
	.cfi_restore_state
	call	do_exit				// never returns
	ud2
END do_syscall_64

FUNC sys_walk
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	112(%rdi), %rbx			// pt_regs.di
	call	walk_here
	leaq	1(%rbx), %rax
	RESTORE	%rbx
	LEAVE
END sys_walk

// Runs the function in rdi with the argument in rsi on the IRQ stack, as a softirq.
FUNC do_softirq_own_stack
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	addq	$COUNT_SOFTIRQ, preempt_count(%rip)
	movq	$1, hardirq_stack_inuse(%rip)
	movq	hardirq_stack_ptr(%rip), %r11
	ON_IRQ_STACK				// CFA, RA and rbp on the task stack
	call	__do_softirq
	OFF_IRQ_STACK
	movq	$0, hardirq_stack_inuse(%rip)
	movl	$COUNT_SOFTIRQ, %edi
	call	preempt_enable
	LEAVE
END do_softirq_own_stack

FUNC __do_softirq
						// CFA=rsp+8 RA=[cfa-8]
	ENTER					// will link the IRQ stack to the task stack
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	LEAVE
END __do_softirq

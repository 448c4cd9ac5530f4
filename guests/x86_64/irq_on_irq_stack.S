// Interrupts while the IRQ stack is in use: their handler stays on the IRQ stack, below the work that was there already.
// Besides the frame records, the word at the top of the IRQ stack leads back to the task stack.
//@ start none
//@ build irq_on_irq_stack: -DUNWINDER_FRAME_POINTER
//@ build irq_on_irq_stack-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	work(%rip), %rdi
	movl	$5, %esi
	call	run_on_irq_stack
	LEAVE
END guest_main

// As an interrupt would do it: calls the function in rdi with the argument in rsi on the IRQ stack.
FUNC run_on_irq_stack
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	addq	$COUNT_HARDIRQ, preempt_count(%rip)
	movq	$1, hardirq_stack_inuse(%rip)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	hardirq_stack_ptr(%rip), %r11
	ON_IRQ_STACK				// CFA, RA and rbp on the task stack
	call	*%rax
	OFF_IRQ_STACK
	movq	$0, hardirq_stack_inuse(%rip)
	movq	%rax, %rbx
	movl	$COUNT_HARDIRQ, %edi
	call	preempt_enable
	movq	%rbx, %rax
	RESTORE	%rbx
	LEAVE
END run_on_irq_stack

FUNC work
						// CFA=rsp+8 RA=[cfa-8]
	ENTER					// links the IRQ stack to the task stack
	SAVE	%r13
	movq	%rdi, %r13
	call	leaf
	addq	%r13, %rax
	RESTORE	%r13
	LEAVE
END work

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

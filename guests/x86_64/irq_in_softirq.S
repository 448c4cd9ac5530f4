// Interrupts during a softirq, which already has the IRQ stack: do_softirq_own_stack switches, the handler does not.
//@ start none
//@ build irq_in_softirq: -DUNWINDER_FRAME_POINTER
//@ build irq_in_softirq-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	softirq_action(%rip), %rdi
	movl	$6, %esi
	call	do_softirq_own_stack
	movq	softirq_result(%rip), %rax
	LEAVE
END guest_main

FUNC softirq_action
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%r14
	movq	%rdi, %r14
	call	leaf
	addq	%r14, %rax
	movq	%rax, softirq_result(%rip)
	RESTORE	%r14
	LEAVE
END softirq_action

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

	.pushsection .data
	.p2align 3
	.type softirq_result, @object
	.size softirq_result, 8
softirq_result:
	.quad 0
	.popsection

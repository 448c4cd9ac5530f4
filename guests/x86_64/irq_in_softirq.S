// Interrupts during a softirq, which already has the IRQ stack: do_softirq_own_stack switches, the handler does not.
//@ start none
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	leaq	softirq_action(%rip), %rdi
	movl	$6, %esi
	call	do_softirq_own_stack
	movq	softirq_result(%rip), %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC softirq_action
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%r14
	.cfi_offset %r14, -24
	movq	%rdi, %r14
	call	leaf
	addq	%r14, %rax
	movq	%rax, softirq_result(%rip)
	popq	%r14
	.cfi_restore %r14
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
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

//@ start none
// From the task stack to the IRQ stack and from there back to the task stack, below what waits on it. No kernel does that, but it
// is true here, and the hints say so: a walk that follows them enters the task stack a second time.
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$5, %edi
	call	on_irq_stack
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// Entry code: hints for ORC, no CFI.
CODE on_irq_stack
	ORC_FUNC
						// CFA=rsp+8 RA=[cfa-8]
	addq	$COUNT_HARDIRQ, preempt_count(%rip)
	movq	$1, hardirq_stack_inuse(%rip)
	movq	hardirq_stack_ptr(%rip), %rcx
	movq	%rsp, (%rcx)			// the way back
	movq	%rcx, %rsp			// CFA=[rsp]+8: rsp on the IRQ stack
	ORC_SP_INDIRECT 8
	call	on_task_stack
	popq	%rsp				// CFA=rsp+8: back
	ORC_FUNC
	movq	$0, hardirq_stack_inuse(%rip)
	movl	$COUNT_HARDIRQ, %edi
	PUSH	%rax				// CFA=rsp+16
	call	preempt_enable
	POP	%rax				// CFA=rsp+8
	ret
END_CODE on_irq_stack

CODE on_task_stack
	ORC_FUNC
						// CFA=rsp+8 RA=[cfa-8]
	movq	hardirq_stack_ptr(%rip), %rcx
	movq	(%rcx), %rcx
	leaq	-512(%rcx), %rcx		// below the frame of on_irq_stack
	movq	%rsp, (%rcx)			// the way back
	movq	%rcx, %rsp			// CFA=[rsp]+8: rsp on the task stack, for the second time
	ORC_SP_INDIRECT 8
	call	work
	popq	%rsp				// CFA=rsp+8: back
	ORC_FUNC
	ret
END_CODE on_task_stack

FUNC work
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END work

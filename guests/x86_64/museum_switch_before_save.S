//@ start none
//@ build museum_switch_before_save-defective: -DDEFECTIVE
//@ build museum_switch_before_save-fixed:
// lkml 2017/6/29/654 (review of "x86/entry: add unwind hint annotations", fixed in Linux 2995590964da): the way onto
// the IRQ stack. The defective build moves rsp first and pushes the old one there, so at the push the word that leads
// back is not written yet, whatever the hint says. The fixed build writes it before rsp moves.
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	on_irq_stack
	LEAVE
END guest_main

// Entry code: hints for ORC, no CFI.
CODE on_irq_stack
	ORC_FUNC
						// CFA=rsp+8 RA=[cfa-8]
	addq	$COUNT_HARDIRQ, preempt_count(%rip)
	movq	$1, hardirq_stack_inuse(%rip)
	movq	hardirq_stack_ptr(%rip), %rcx
#ifdef DEFECTIVE
	movq	%rsp, %rsi
	leaq	8(%rcx), %rsp			// CFA=rsi+8: rsp on the IRQ stack, with nothing below it
	ORC_SP_INDIRECT 8
	pushq	%rsi				// CFA=[rsp]+8
#else
	movq	%rsp, (%rcx)
	movq	%rcx, %rsp			// CFA=[rsp]+8: rsp on the IRQ stack
	ORC_SP_INDIRECT 8
#endif
	call	work
	popq	%rsp				// CFA=rsp+8: back
	ORC_FUNC
	movq	$0, hardirq_stack_inuse(%rip)
	movl	$COUNT_HARDIRQ, %edi
	PUSH	%rax				// CFA=rsp+16
	call	preempt_enable
	POP	%rax				// CFA=rsp+8
	ret
END_CODE on_irq_stack

FUNC work
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END work

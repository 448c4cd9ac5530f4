// A second stack: `call_on_irq_stack` stores rsp in the topmost word of the IRQ stack, makes rsp point at that word, calls
// a function and returns with `pop %rsp`. Two ways lead back from the IRQ stack: that word, and rbp with the frame record
// on the task stack. (As in a kernel, the one word leaves rsp 8 bytes off the usual 16-byte alignment at that call; the
// functions on the IRQ stack allow for it.)
#include "guest.h"

STACK irq, 0x4000

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	do_irq
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC do_irq
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx
	.cfi_offset %rbx, -24
	subq	$8, %rsp			// aligns rsp
	movl	$1, %edi
	leaq	first_handler(%rip), %rsi
	call	call_on_irq_stack
	movq	%rax, %rbx
	movq	%rax, %rdi
	leaq	second_handler(%rip), %rsi
	call	call_on_irq_stack
	addq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END do_irq

// rdi: the argument for the function, rsi: the function. Returns what the function returns.
FUNC call_on_irq_stack
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movq	__stack_irq_high(%rip), %rax
	movq	%rsp, -8(%rax)			// the way back
	leaq	-8(%rax), %rsp			// rsp on the IRQ stack; CFA, RA and rbp on the task stack
	call	*%rsi				// the one call with rsp not 16-byte aligned (see above)
	popq	%rsp				// back; CFA=rsp+16 too
	.cfi_def_cfa %rsp, 16
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
END call_on_irq_stack

FUNC first_handler
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16; will link the IRQ stack to the task stack
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	subq	$8, %rsp			// aligns rsp
	call	leaf
	addq	$1, %rax
	addq	$8, %rsp
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END first_handler

FUNC second_handler
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx				// aligns rsp too
	.cfi_offset %rbx, -24
	movq	%rdi, %rbx
	call	leaf
	addq	%rbx, %rax
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END second_handler

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

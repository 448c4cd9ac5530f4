//@ build museum_cfa_expression-defective: -DDEFECTIVE
//@ build museum_cfa_expression-fixed:
// An aligned frame whose CFA is in a word of it: CFA = [rsp+N] + 8, an expression of three operations (breg, deref, plus_uconst).
// Then rsp moves. In the defective build the expression does not follow.
#include "guest.h"

FUNC guest_main
	pushq	%rbp
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	block
	popq	%rbp
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC block
						// CFA=rsp+8
	movq	%rsp, %rax			// CFA=rax+8
	.cfi_def_cfa_register %rax
	pushq	%rbx
	.cfi_offset %rbx, -16
	pushq	%rbp
	.cfi_offset %rbp, -24
	subq	$0x120, %rsp
	andq	$-64, %rsp
	movq	%rax, 0x48(%rsp)		// CFA=[rsp+0x48]+8
	.cfi_escape 0x0f, 6, 0x77, 0xc8, 0x00, 0x06, 0x23, 8
	xorl	%eax, %eax
	movl	$5, %ebp
	call	leaf
	leaq	0x40(%rsp), %rsp		// CFA=[rsp+8]+8
#ifndef DEFECTIVE
	.cfi_escape 0x0f, 5, 0x77, 8, 0x06, 0x23, 8
#endif
	addq	%rbp, %rax
	movq	8(%rsp), %rsi			// CFA=rsi+8
	.cfi_def_cfa %rsi, 8
	movq	-16(%rsi), %rbp
	.cfi_restore %rbp
	movq	-8(%rsi), %rbx
	.cfi_restore %rbx
	leaq	(%rsi), %rsp			// CFA=rsp+8
	.cfi_def_cfa_register %rsp
	ret
END block

FUNC leaf
	leaq	1(%rdi), %rax
	ret
END leaf

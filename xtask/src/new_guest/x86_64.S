// Write here in a sentence what this guest pins: which instructions are hard for an unwinder, and why. What stands below is a
// function with a frame that calls one without; change it.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$5, %edi
	call	work
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC work
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx
	.cfi_offset %rbx, -24
	subq	$8, %rsp			// aligns rsp
	call	leaf				// the first place
	movq	%rax, %rbx
	leaq	3(%rax), %rdi
	call	leaf				// the second place
	addq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END work

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	leaq	(,%rax,8), %rcx
	xorq	%rcx, %rax
	andl	$0xffff, %eax
	subq	$2, %rax
	ret
END leaf

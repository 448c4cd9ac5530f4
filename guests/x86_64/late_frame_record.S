// Every instruction of a prologue and an epilogue matters: between the entry of `late` and the instruction that makes rbp
// point at its record, and again between the reload of rbp and the return, a walk along frame records alone leaves out the
// caller.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$1, %edi
	call	caller
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC caller
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx
	.cfi_offset %rbx, -24
	subq	$8, %rsp			// aligns rsp
	movl	$7, %ebx
	call	late
	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

// The record is completed and linked as late as it can be, and unlinked as early.
FUNC late
						// CFA=rsp+8 RA=[cfa-8]
	subq	$40, %rsp			// CFA=rsp+48
	.cfi_def_cfa_offset 48
	addq	$1, %rdi
	movq	%rbx, (%rsp)
	.cfi_offset %rbx, -48
	movq	%r12, 8(%rsp)
	.cfi_offset %r12, -40
	movq	%rdi, %rbx
	movq	%rbp, 32(%rsp)			// the record is complete; rbp still holds the caller's value
	.cfi_offset %rbp, -16
	movq	%rdi, %r12
	leaq	32(%rsp), %rbp			// CFA=rbp+16: the record is linked
	.cfi_def_cfa %rbp, 16
	call	leaf
	addq	%rbx, %rax
	movq	32(%rsp), %rbp			// CFA=rsp+48: unlinked
	.cfi_def_cfa %rsp, 48; .cfi_restore %rbp
	addq	%r12, %rax
	movq	(%rsp), %rbx
	.cfi_restore %rbx
	movq	8(%rsp), %r12
	.cfi_restore %r12
	addq	$40, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	addq	$1, %rax
	ret
END late

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END leaf

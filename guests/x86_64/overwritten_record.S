// BROKEN ON PURPOSE. `victim` overwrites both words of its own linked frame record and restores them. At exactly three
// instructions the RA word in memory points into `bystander` (right after a call there, so it looks like any return
// address), and at the middle one of the three the FP word also skips the record of `caller`. `bystander` never runs: a
// walk along frame records must be wrong about it at these three instructions and at no others. (What such a walk leaves
// out in prologues, epilogues and leaves is another matter.) The return itself is in order.
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
	call	victim
	addq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

FUNC victim
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
	movq	(%rbp), %rcx			// the true FP word: the record of `caller`
	movq	8(%rbp), %rdx			// the true RA word
	movq	(%rcx), %rsi			// the record of guest_main
	leaq	.Lbehind_a_call(%rip), %rdi
	movq	%rdi, 8(%rbp)			// RA=rdx only; the RA word is wrong
	.cfi_register %rip, %rdx
	movq	%rsi, (%rbp)			// both words are wrong
	.cfi_register %rbp, %rcx
	movq	%rcx, (%rbp)			// the RA word is wrong
	.cfi_offset %rbp, -16
	movq	%rdx, 8(%rbp)			// RA=[cfa-8]: the record is right again
	.cfi_offset %rip, -8
	addq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END victim

FUNC bystander
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
.Lbehind_a_call:
	addq	$2, %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END bystander

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END leaf

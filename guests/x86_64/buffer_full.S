// Chains of calls that fit live patching's buffer of 100 entries and chains that do not: the task sleeps below 80 calls,
// and below 110.
//@ start none
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$80, %edi
	call	recurse
	movl	$110, %edi
	call	recurse
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC recurse
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	testq	%rdi, %rdi
	jz	.Ldeep_enough
	decq	%rdi
	call	recurse
	incq	%rax
	jmp	.Lback
.Ldeep_enough:
	call	schedule			// sleeps here
.Lback:
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END recurse

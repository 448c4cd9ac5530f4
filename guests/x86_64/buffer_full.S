// A chain of 110 calls to itself, more than the 100 entries that a buffer for reliable stack traces has, and a leaf at its end.
//@ start none
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	movl	$110, %edi
	call	recurse
	popq	%rbp				// CFA=rsp+8
	ret
END guest_main

FUNC recurse
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	testq	%rdi, %rdi
	jz	.Ldeep_enough
	decq	%rdi
	call	recurse
	incq	%rax
	jmp	.Lback
.Ldeep_enough:
	call	leaf
.Lback:
	popq	%rbp				// CFA=rsp+8
	ret
END recurse

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

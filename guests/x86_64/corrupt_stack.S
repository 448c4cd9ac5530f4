// A plain chain, six deep: the scenario overwrites words of the stack at a walk, and the walk has to end, in bounds.
//@ start none
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	movl	$1, %edi
	call	one
	popq	%rbp				// CFA=rsp+8
	ret
END guest_main

FUNC one
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	incq	%rdi
	call	two
	subq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	ret
END one

FUNC two
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	incq	%rdi
	call	three
	subq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	ret
END two

FUNC three
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	incq	%rdi
	call	four
	subq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	ret
END three

FUNC four
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	incq	%rdi
	call	five
	subq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	ret
END four

FUNC five
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	incq	%rdi
	call	leaf
	subq	$1, %rax
	popq	%rbp				// CFA=rsp+8
	ret
END five

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

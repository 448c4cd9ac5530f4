// Stack words that look like what marks an exception boundary or the end: zero pairs followed by 1, 2 or 3, as locals and
// as saved registers, and odd stack addresses like the encoded frame pointer of a pt_regs. None of them is in a record.
//@ start none
//@ build fake_metadata: -DUNWINDER_FRAME_POINTER
//@ build fake_metadata-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	fake_locals
	movq	%rax, %rdi
	call	fake_saved
	LEAVE
END guest_main

FUNC fake_locals
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	ALLOC	64
	movq	$0, 56(%rsp)			// right below the record: {0, 0, 1, 2, 3}, from high to low
	movq	$0, 48(%rsp)
	movq	$1, 40(%rsp)
	movq	$2, 32(%rsp)
	movq	$3, 24(%rsp)
	leaq	25(%rsp), %rax			// 24(%rsp)|1
	movq	%rax, 16(%rsp)
	movq	$0, 8(%rsp)
	movq	$0, (%rsp)
	movl	$7, %edi
	call	leaf
	FREE	64
	LEAVE
END fake_locals

FUNC fake_saved
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	SAVE	%r14
	SAVE	%r15
	xorl	%ebx, %ebx
	xorl	%r12d, %r12d
	movl	$1, %r13d
	movl	$2, %r14d
	leaq	1(%rsp), %r15			// like an encoded frame pointer
	call	saves_them
	RESTORE	%r15
	RESTORE	%r14
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END fake_saved

FUNC saves_them
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	SAVE	%r14
	SAVE	%r15
	movl	$3, %ebx
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	call	leaf
	addq	%rbx, %rax
	RESTORE	%r15
	RESTORE	%r14
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END saves_them

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

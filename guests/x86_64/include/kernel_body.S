// Code that several kernel guests have interrupted: a function with a record (caller), one that links its record late and
// unlinks it early (late), and one without (leaf).
FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER					// the last record: at task_pt_regs - 16
	movl	$3, %edi
	call	caller
	LEAVE
END guest_main

FUNC caller
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	movq	%rdi, %rbx
	call	late
	movq	%rax, %r12
	movq	%rbx, %rdi
	call	leaf
	addq	%r12, %rax
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END caller

FUNC late
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	testq	%rdi, %rdi
	jz	.Lnothing_to_do
	subq	$32, %rsp			// CFA=rsp+40
	.cfi_def_cfa_offset 40
#ifndef UNWINDER_ORC
	movq	%rbp, 24(%rsp)
	.cfi_offset %rbp, -16
#endif
	movq	%rdi, 8(%rsp)
#ifndef UNWINDER_ORC
	leaq	24(%rsp), %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
#endif
	addq	$4, %rdi
	call	leaf
	addq	8(%rsp), %rax
#ifndef UNWINDER_ORC
	movq	24(%rsp), %rbp			// CFA=rsp+40
	.cfi_def_cfa %rsp, 40; .cfi_restore %rbp
#endif
	leaq	1(%rax), %rax
	addq	$32, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
.Lnothing_to_do:
	ret
END late

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

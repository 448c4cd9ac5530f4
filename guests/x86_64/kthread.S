// A kernel thread: its stack ends in ret_from_fork, whose record is the last one, below an empty pt_regs.
//@ start none
#define OTHER_TASK kthread_main
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	movl	$1, %eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC kthread_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx
	.cfi_offset %rbx, -24
	xorl	%ebx, %ebx
.Lnext_job:
	movq	%rbx, %rdi
	call	kthread_job
	movq	%rax, %rbx
	jmp	.Lnext_job
END kthread_main

FUNC kthread_job
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%r12
	.cfi_offset %r12, -24
	movq	%rdi, %r12
	call	schedule
	movq	%r12, %rdi
	call	leaf
	popq	%r12
	.cfi_restore %r12
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END kthread_job

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

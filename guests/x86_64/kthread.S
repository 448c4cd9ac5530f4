// A kernel thread: its stack ends in ret_from_fork, whose record is the last one, below an empty pt_regs.
//@ start none
//@ build kthread: -DUNWINDER_FRAME_POINTER
//@ build kthread-orc: -DUNWINDER_ORC
#define OTHER_TASK kthread_main
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	movl	$1, %eax
	LEAVE
END guest_main

FUNC kthread_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	xorl	%ebx, %ebx
.Lnext_job:
	movq	%rbx, %rdi
	call	kthread_job
	movq	%rax, %rbx
	jmp	.Lnext_job
END kthread_main

FUNC kthread_job
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%r12
	movq	%rdi, %r12
	call	schedule
	movq	%r12, %rdi
	call	leaf
	RESTORE	%r12
	LEAVE
END kthread_job

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

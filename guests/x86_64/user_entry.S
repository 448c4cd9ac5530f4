// Exceptions in user mode: whatever stack the CPU pushed its frame on, pt_regs ends up at the high end of the task's stack,
// and no value from user mode, least of all rbp, may lead any further.
//@ start none
//@ build user_entry: -DUNWINDER_FRAME_POINTER
//@ build user_entry-orc: -DUNWINDER_ORC
#define OTHER_TASK become_user
#define WALKS_USER
#include "kernel.S"
#include "kernel_user.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	wait_for_other
	LEAVE
END guest_main

// The process begins here: it was not called, and rsp is the high end of the user stack.
CODE user_main
	movl	$2, %ebx
.Lagain:
	movq	%rbx, %rdi
	call	user_caller
	decq	%rbx
	jnz	.Lagain
	movl	$60, %eax
	syscall					// the process ends
	ud2					// not reached
END_CODE user_main

FUNC user_caller
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	SAVE	%r12
	movl	$9, %r12d
	call	user_leaf
	addq	%r12, %rax
	RESTORE	%r12
	LEAVE_RECORD
END user_caller

// rbp holds a plain number here, as in programs built without frame pointers; an odd one, like a kernel's encoded pt_regs.
FUNC user_leaf
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rbp, %rdx
	.cfi_register %rbp, %rdx
	leaq	1(%rdi,%rdi), %rbp
	leaq	4(%rbp), %rax
	movq	%rdx, %rbp
	.cfi_restore %rbp
	ret
END user_leaf

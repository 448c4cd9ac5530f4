// System calls: for some instructions the kernel runs on the user's rsp, and with the user's rbp until pt_regs is complete;
// from then on the stack ends there. The user's rbp is a record of its own first, then an odd number.
//@ start none
//@ build syscall: -DUNWINDER_FRAME_POINTER
//@ build syscall-orc: -DUNWINDER_ORC
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
	movl	$5, %edi
	call	user_call
	movq	%rax, %rdi
	call	user_call_without_record
	movl	$60, %eax
	syscall					// the process ends
	ud2					// not reached
END_CODE user_main

FUNC user_call
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	xorl	%eax, %eax
	syscall
	LEAVE_RECORD
END user_call

FUNC user_call_without_record
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rbp, %r8
	.cfi_register %rbp, %r8
	movl	$7, %ebp
	xorl	%eax, %eax
	syscall
	movq	%r8, %rbp
	.cfi_restore %rbp
	ret
END user_call_without_record

// No unwind data at all, as in most programs built with frame pointers: the case in which a walk of user stacks falls back
// to them.
//@ start none
#include "guest.h"

STACK task, 0x4000

CODE _start
	xorl	%ebp, %ebp			// no caller: a zero frame pointer ends the chain (psABI 3.4.1)
	movl	$3, %edi
	call	guest_main
	jmp	__sentinel			// the run ends
END_CODE _start

CODE guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	call	caller
	popq	%rbp				// CFA=rsp+8
	ret
END_CODE guest_main

CODE caller
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
	call	leaf
	movq	%rax, %rdi
	movq	%rbp, %rdx
	movq	$16, %rbp			// a plain number
	call	leaf
	movq	%rdx, %rbp
	popq	%rbp				// CFA=rsp+8
	ret
END_CODE caller

CODE leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	7(%rdi), %rax
	ret
END_CODE leaf

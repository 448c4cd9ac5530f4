// The end of the task stack, twice. `deep` goes there in one step: no exception frame fits, so irqs and faults become
// double faults, taken on a stack of their own, from which this kernel returns. Then `recurse_for_ever` pushes until it
// touches the guard page, by itself or in a handler that it still had room to enter, and the run ends there.
//@ start none
//@ build overflow: -DUNWINDER_FRAME_POINTER
//@ build overflow-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$3, %edi
	call	recurse
	movq	$1, overflow_is_fatal(%rip)
	xorl	%edi, %edi
	call	recurse_for_ever
	LEAVE
END guest_main

// rdi: how many more of these calls.
FUNC recurse
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	decq	%rdi
	jz	.Lat_the_end
	call	recurse
	jmp	.Lback
.Lat_the_end:
	call	deep
.Lback:
	addq	%rbx, %rax
	RESTORE	%rbx
	LEAVE
END recurse

// Takes rsp to 32 bytes above the end of the stack in one step, so that no instruction is interrupted where the exception
// frame fits but what the handlers push does not.
FUNC deep
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	movq	__stack_task_low(%rip), %rax
	leaq	32(%rax), %rsp			// from here on, not even the CPU's own words fit
	call	last
	movq	%rbp, %rsp			// they fit again
	LEAVE_RECORD
END deep

FUNC last
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$2, %edi
	call	leaf				// the last word but one
	LEAVE
END last

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

// rdi: how deep it is. It is the pushes, of a word each, that reach the guard page, not the step of 1 KiB.
FUNC recurse_for_ever
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	incq	%rdi
	movq	%rsp, %rax
	subq	__stack_task_low(%rip), %rax
	cmpq	$0x800, %rax
	jb	.Lno_step
	subq	$0x400, %rsp
.Lno_step:
	call	recurse_for_ever
	leave					// not reached; CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END recurse_for_ever

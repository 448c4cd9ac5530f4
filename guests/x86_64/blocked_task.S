// A task that gives up the CPU voluntarily: from its first function, from one deeper, and from one whose callee-saved
// registers are all in use. The checker has it walked each time; it sleeps at the return address that __switch_to_asm will
// pop.
//@ start none
//@ build blocked_task: -DUNWINDER_FRAME_POINTER
//@ build blocked_task-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	call	one_deeper
	call	keeps_registers
	LEAVE
END guest_main

FUNC one_deeper
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	ALLOC	16
	movq	$2, 8(%rsp)
	call	schedule
	FREE	16
	LEAVE
END one_deeper

FUNC keeps_registers
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	SAVE	%r14
	SAVE	%r15
	movl	$1, %ebx
	leaq	guest_main(%rip), %r12		// looks like a return address
	movq	%rsp, %r13			// looks like a frame pointer
	leaq	1(%rsp), %r14			// like an encoded one
	movl	$5, %r15d
	call	schedule
	leaq	(%rbx,%r15), %rax
	subq	%r13, %r14
	addq	%r14, %rax
	RESTORE	%r15
	RESTORE	%r14
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END keeps_registers

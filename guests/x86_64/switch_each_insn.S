// Each instruction of a switch to another task and back, with all callee-saved registers in use on this side.
//@ start none
//@ build switch_each_insn: -DUNWINDER_FRAME_POINTER
//@ build switch_each_insn-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$1, %edi
	call	round_trip
	movq	%rax, %rdi
	call	round_trip
	LEAVE
END guest_main

FUNC round_trip
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	SAVE	%r14
	SAVE	%r15
	leaq	1(%rdi), %rbx
	leaq	2(%rdi), %r12
	leaq	3(%rdi), %r13
	leaq	4(%rdi), %r14
	leaq	5(%rdi), %r15
	call	schedule
	leaq	(%rbx,%r12), %rax
	addq	%r13, %rax
	addq	%r14, %rax
	addq	%r15, %rax
	RESTORE	%r15
	RESTORE	%r14
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END round_trip

//@ start none
//@ build museum_odd_stack-defective: -DDEFECTIVE
//@ build museum_odd_stack-fixed:
// Linux 5c99b692cfd6: gcc 4.8 lowers SP by 3 in a leaf, and an interrupt pushes its words there. A walk along frame
// pointers tells pt_regs from a record by an odd address, so from then on it takes one for the other. On x86-32 the CPU
// pushes wherever SP is; on x86-64 it aligns rsp first. `save_regs` stands for the CPU: it pushes the same words where
// rsp is (defective), or where an x86-64 CPU would (fixed).
#include "kernel.S"

#define REGS_RBP	32

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	preempt_count(%rip), %rdi	// a pointer, as the original has it in this register
	call	move_data
	LEAVE
END guest_main

FUNC move_data
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	subq	$3, %rsp			// odd
	movb	$7, 2(%rsp)
	call	save_regs
	movzbl	2(%rsp), %eax
	addq	$3, %rsp
	RESTORE	%rbx
	LEAVE
END move_data

// As an exception right behind its call: pt_regs has the return address as the interrupted pc. (But rdx is lost.)
CODE save_regs
	ORC_FUNC
						// CFA=rsp+8 RA=[cfa-8]
	leaq	8(%rsp), %rdx			// CFA=rdx, as ORC reads this register without an offset
	ORC_HINT ORC_TYPE_CALL, ORC_REG_DX, 0
#ifndef DEFECTIVE
	andq	$-16, %rsp			// what a CPU does in 64-bit mode
#else
	nopw	(%rax)				// as long as the andq, so that both builds have equal offsets
#endif
	pushq	$0x18				// ss
	pushq	%rdx				// rsp
	pushfq
	pushq	$0x10				// cs
	pushq	-8(%rdx)			// rip
	pushq	$-1				// orig_ax
	.irp	register, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
	pushq	%\register
	.endr					// REGS=rsp
	ORC_REGS
	leaq	1(%rsp), %rbp			// encoded: pt_regs|1, if rsp is even
	call	do_trap
	movq	REGS_RBP(%rsp), %rbp
	movq	REGS_RSP(%rsp), %rdx
	leaq	-8(%rdx), %rsp			// CFA=rsp+8
	ORC_FUNC
	ret
END_CODE save_regs

// The handler, which sleeps: there the task is walked.
FUNC do_trap
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	LEAVE
END do_trap

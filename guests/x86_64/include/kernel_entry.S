// The CPU's entry points, and the exit.
//
// Which exception cannot be taken where. The guests survive all but the first three.
//
// * NMI, from idt_nmi's first instruction to iretq, with everything that it calls: the CPU blocks NMIs up to an iretq, and
//   a second frame would overwrite the first. (An exception's iretq inside of an NMI unblocks them too early, for which idt_nmi
//   keeps copies of the CPU's words, as a kernel does; the harness does not make use of it, so nested_nmi never runs.)
// * debug, from idt_debug's first instruction to iretq, with everything that it calls: a second frame would overwrite the
//   first. A kernel disarms breakpoints there.
// * double fault, likewise in idt_double_fault: a second frame would overwrite the first.
// * irq and preempt, where IF is clear (entries, exits, their handlers): masked.
// * irq and fault, in entry_SYSCALL_64 up to the load of rsp: irqs are masked and nothing faults there; rsp is the user's.
//   Survived while the user stack has room.

// moved_return_*: a return arrives here with another rsp than that of its call, and with other callee-saved registers: the
// called code has left pt_regs on its caller's stack, and kept nothing in registers.

// A push and a pop as objtool follows them: what was at rsp + n is then at rsp + n + 8 or at rsp + n - 8. So for objtool a
// pt_regs that is popped word by word stays complete, partly below rsp, and so does a return address that was overwritten.
.macro PUSH what
	pushq	\what
	ORC_ADJUST 8
.endm

.macro POP what
	popq	\what
	ORC_ADJUST -8
.endm

// Pushes the part of pt_regs below orig_ax. \rdx is where rdx is found, \rax what is written as rax.
.macro PUSH_REGS rdx=%rdx, rax=%rax
	PUSH	%rdi
	PUSH	%rsi
	PUSH	\rdx
	PUSH_REST \rax
	ORC_REGS
	CLEAR_REGS
.endm

// The same in a function that was called: the return address lies where rdi belongs, and is moved below pt_regs through
// rsi. Without its return address the function is left out: the hint leads to what the CPU pushed.
.macro PUSH_REGS_BELOW_RETURN_ADDRESS
	PUSH	%rsi				// IRET=rsp+24 RA=[rsp+8]
	movq	8(%rsp), %rsi			// RA=rsi, and still [rsp+8]
	movq	%rdi, 8(%rsp)			// RA=rsi
#ifndef BUG_SAVE_RET				// the museum: a function's hint, though the return address is gone
	ORC_IRET 24
#endif
	PUSH	%rdx
	PUSH_REST %rax				// REGS=rsp
	ORC_REGS
	PUSH	%rsi				// REGS=rsp+8 RA=[rsp]
	CLEAR_REGS
.endm

#ifdef BUG_CLEAR_EARLY				// the museum: each register is cleared before the hint says where it is
.macro PUSH_CLEAR register, low
	PUSH	\register
	xorl	\low, \low
.endm
#else
.macro PUSH_CLEAR register, low
	PUSH	\register
.endm
#endif

.macro PUSH_REST rax
	PUSH	%rcx
	PUSH	\rax
	PUSH_CLEAR %r8, %r8d
	PUSH_CLEAR %r9, %r9d
	PUSH_CLEAR %r10, %r10d
	PUSH_CLEAR %r11, %r11d
	PUSH_CLEAR %rbx, %ebx
	PUSH_CLEAR %rbp, %ebp
	PUSH_CLEAR %r12, %r12d
	PUSH_CLEAR %r13, %r13d
	PUSH_CLEAR %r14, %r14d
	PUSH_CLEAR %r15, %r15d
.endm

// Nothing of the interrupted code stays in registers for speculation to use; rbp is 0 for some instructions.
.macro CLEAR_REGS
	.irp	register, esi, edx, ecx, r8d, r9d, r10d, r11d
	xorl	%\register, %\register
	.endr
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
.endm

// rsp goes from pt_regs to orig_ax.
.macro POP_REGS
	POP	%r15
	POP	%r14
	POP	%r13
	POP	%r12
	POP	%rbp
	POP	%rbx
	POP	%r11
	POP	%r10
	POP	%r9
	POP	%r8
	POP	%rax
	POP	%rcx
	POP	%rdx
	POP	%rsi
	POP	%rdi				// IRET=rsp+8
.endm

// What follows the call of error_entry: \handler with pt_regs and, if there is one, the error code. After the call rsp is at
// pt_regs, while ORC's entry is still that from before the call, as in a kernel: it takes r14 and r13 for rip and cs.
.macro CALL_HANDLER handler, has_error_code=0
	movq	%rax, %rsp			// REGS=rsp
	ENCODE_FRAME_POINTER
	ORC_REGS
	movq	%rsp, %rdi
	.if \has_error_code
	movq	REGS_ORIG_RAX(%rsp), %rsi
	movq	$-1, REGS_ORIG_RAX(%rsp)	// no system call
	.endif
	call	\handler
	jmp	error_return
.endm

// A maskable interrupt: no error code, no IST.
CODE idt_irq
	ORC_IRET				// IRET=rsp
	cld
	PUSH	$-1				// IRET=rsp+8
	call	error_entry			// rsp returns lower than it went: REGS=rsp on this stack, and in rax
moved_return_irq:
	CALL_HANDLER common_interrupt
END_CODE idt_irq

// A page fault: an error code, no IST.
CODE idt_fault
	ORC_IRET 8				// IRET=rsp+8
	cld
	call	error_entry
moved_return_fault:
	CALL_HANDLER exc_page_fault, 1
END_CODE idt_fault

// Below the CPU's words and orig_ax: pushes the rest of pt_regs. Returns its address in rax: here, or on the task stack if
// user mode was interrupted.
CODE error_entry
	ORC_FUNC				// IRET=rsp+16 RA=[rsp]
	PUSH_REGS_BELOW_RETURN_ADDRESS
	ENCODE_FRAME_POINTER 8
	testb	$3, 8+REGS_CS(%rsp)
	jz	.Lerror_from_kernel
	swapgs
	leaq	8(%rsp), %rdi
	jmp	sync_regs			// returns to error_entry's caller
.Lerror_from_kernel:
	leaq	8(%rsp), %rax
	ret					// REGS=rsp
END_CODE error_entry

// Moves pt_regs from the entry stack (rdi) to its place on the task stack, which is free because user mode was interrupted.
// It may lie there already.
FUNC sync_regs
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	cpu_current_top_of_stack(%rip), %rax
	subq	$REGS_SIZE, %rax
	cmpq	%rax, %rdi
	je	.Lsynced
	movq	%rdi, %rsi
	movq	%rax, %rdi
	movl	$REGS_SIZE / 8, %ecx
	rep movsq
.Lsynced:
	LEAVE
END sync_regs

CODE error_return
	ORC_REGS				// REGS=rsp
	testb	$3, REGS_CS(%rsp)
	jz	restore_regs_and_return_to_kernel
	jmp	swapgs_restore_regs_and_return_to_usermode
END_CODE error_return

// The ends of all exceptions but the NMI's. To user mode: REGS=rsp, at the high end of the task stack.
CODE common_interrupt_return
swapgs_restore_regs_and_return_to_usermode:
	ORC_REGS
	POP_REGS
	addq	$8, %rsp			// IRET=rsp
	ORC_IRET
	swapgs
	testb	$3, 8(%rsp)
	jnz	.Liret
	ud2
restore_regs_and_return_to_kernel:
	ORC_REGS
	POP_REGS
	addq	$8, %rsp			// IRET=rsp
.Liret:
	ORC_IRET
	iretq
END_CODE common_interrupt_return

// NMI, on a stack of its own (IST). What lies on it below the CPU's words: rdx, a word that says that an NMI is being handled,
// and two copies of the CPU's words, "iret" and below it "outermost", which is the end of pt_regs. iretq uses "iret", which a
// nested NMI redirects to repeat_nmi.
CODE idt_nmi
	ORC_IRET				// IRET=rsp
	cld
	PUSH	%rdx				// IRET=rsp+8
	testb	$3, 16(%rsp)
	jz	.Lnmi_from_kernel

	// From user mode: as if the CPU had switched to the task stack.
	swapgs
	movq	%rsp, %rdx			// IRET=rdx+8
	movq	cpu_current_top_of_stack(%rip), %rsp
	ORC_IRET 8, ORC_REG_DX
	pushq	40(%rdx)
	pushq	32(%rdx)
	pushq	24(%rdx)
	pushq	16(%rdx)
	pushq	8(%rdx)				// IRET=rsp
	ORC_IRET
	PUSH	$-1				// IRET=rsp+8
	PUSH_REGS rdx=(%rdx)			// REGS=rsp; nothing on the NMI stack is needed any more
	ENCODE_FRAME_POINTER
	movq	%rsp, %rdi
	call	exc_nmi
	jmp	swapgs_restore_regs_and_return_to_usermode

.Lnmi_from_kernel:				// IRET=rsp+8
	ORC_IRET 8
	movq	$repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	.Lnot_repeating
	movq	$end_repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	.Lnested_nmi_out		// it is about to be handled anyway
.Lnot_repeating:
	cmpl	$1, -8(%rsp)			// the word from the last NMI
	je	.Lnested_nmi
	leaq	48(%rsp), %rdx			// the high end of this stack
	cmpq	%rdx, 32(%rsp)
	ja	.Lfirst_nmi
	subq	$NMI_STACK_SIZE, %rdx
	cmpq	%rdx, 32(%rsp)
	jb	.Lfirst_nmi
	testb	$RFLAGS_DF >> 8, 25(%rsp)	// set where an NMI has cleared the word
	jz	.Lfirst_nmi			// user mode's rsp, in the first instructions of a system call

.Lnested_nmi:					// another round for the NMI that was interrupted
	subq	$8, %rsp
	ORC_ADJUST 8
	leaq	-80(%rsp), %rdx
	PUSH	$0x18
	PUSH	%rdx
	pushfq
	ORC_ADJUST 8
	PUSH	$0x10
	PUSH	$repeat_nmi
	addq	$48, %rsp
	ORC_ADJUST -48
.Lnested_nmi_out:
	POP	%rdx
	iretq

.Lfirst_nmi:
	ORC_IRET 8
	movq	(%rsp), %rdx
	PUSH	$0				// IRET=rsp+16; no NMI is being handled yet
	subq	$40, %rsp			// IRET=rsp+56; room for "iret"
	ORC_ADJUST 40
	.rept 5
	PUSH	88(%rsp)			// "outermost"
	.endr					// IRET=rsp; and at rsp+96
	ORC_IRET
repeat_nmi:
	movq	$1, 80(%rsp)			// an NMI is being handled
	addq	$80, %rsp			// IRET=rsp-80
	ORC_ADJUST -80
	.rept 5
	PUSH	-48(%rsp)			// "iret"
	.endr
	subq	$40, %rsp			// IRET=rsp
	ORC_ADJUST 40
end_repeat_nmi:
	PUSH	$-1				// IRET=rsp+8
	call	paranoid_entry			// REGS=rsp
moved_return_nmi:
	ORC_REGS
	movq	%rsp, %rdi
	call	exc_nmi
	testl	%ebx, %ebx
	jnz	.Lnmi_restore
	swapgs
.Lnmi_restore:
	POP_REGS
	addq	$48, %rsp			// IRET=rsp; the hint: a whole pt_regs below rsp
	ORC_ADJUST -48
	std					// tells this from a system call with the user's rsp
	movq	$0, 40(%rsp)			// no NMI is being handled
	iretq
END_CODE idt_nmi

// Debug, on a stack of its own (IST).
CODE idt_debug
	ORC_IRET				// IRET=rsp
	cld
	PUSH	$-1				// IRET=rsp+8
	testb	$3, 16(%rsp)
	jnz	.Ldebug_from_user
	call	paranoid_entry			// REGS=rsp
moved_return_debug:
	ORC_REGS
	movq	%rsp, %rdi
	call	exc_debug
	jmp	paranoid_exit

.Ldebug_from_user:
	ORC_IRET 8
	call	error_entry
moved_return_debug_from_user:			// nothing on the debug stack is needed any more
	CALL_HANDLER exc_debug
END_CODE idt_debug

// Double fault: an error code, and a stack of its own (IST). A kernel does not return from it; here it does, and nothing is
// lost.
CODE idt_double_fault
	ORC_IRET 8				// IRET=rsp+8
	cld
	call	paranoid_entry			// REGS=rsp
moved_return_double_fault:
	ORC_REGS
	movq	%rsp, %rdi
	movq	REGS_ORIG_RAX(%rsp), %rsi
	movq	$-1, REGS_ORIG_RAX(%rsp)
	call	exc_double_fault
	jmp	paranoid_exit
END_CODE idt_double_fault

// error_entry for exceptions that can be taken at any time, so that CS does not tell whose GS base is loaded; a kernel's is
// negative. ebx: whether it was. Stays on the stack.
CODE paranoid_entry
	ORC_FUNC				// IRET=rsp+16 RA=[rsp]
	PUSH_REGS_BELOW_RETURN_ADDRESS
	ENCODE_FRAME_POINTER 8
	movl	$1, %ebx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	testl	%edx, %edx
	js	.Lkernel_gs_base
	xorl	%ebx, %ebx
	swapgs
.Lkernel_gs_base:
	ret					// REGS=rsp
END_CODE paranoid_entry

// ebx: as paranoid_entry left it.
CODE paranoid_exit
	ORC_REGS				// REGS=rsp
	testl	%ebx, %ebx
	jnz	restore_regs_and_return_to_kernel
	swapgs
	jmp	restore_regs_and_return_to_kernel
END_CODE paranoid_exit

// A system call: the CPU left rip in rcx and RFLAGS in r11, and rsp is still the user's.
CODE entry_SYSCALL_64
	ORC_END_OF_STACK			// up to the ORC_REGS of PUSH_REGS
	swapgs
	movq	%rsp, cpu_user_rsp(%rip)
	movq	cpu_current_top_of_stack(%rip), %rsp
	pushq	$USER_DS
	pushq	cpu_user_rsp(%rip)
	pushq	%r11
	pushq	$USER_CS
	pushq	%rcx				// IRET=rsp
	pushq	%rax				// IRET=rsp+8; the number of the system call
	PUSH_REGS rax=$-38			// REGS=rsp; rbp=0 and stays: the next record is the last one
	movq	%rsp, %rdi
	movslq	%eax, %rsi
	call	do_syscall_64
	jmp	swapgs_restore_regs_and_return_to_usermode
END_CODE entry_SYSCALL_64

// The CPU's entry points, and the exit.
//
// Which exception cannot be taken where. The guests survive all but the first three.
//
// * NMI, from idt_nmi's first instruction to iretq, with everything that it calls: the CPU blocks NMIs up to an iretq, and
//   a second frame would overwrite the first. (Left out: a fault's iretq unblocks them too early, and what a kernel does
//   about it.)
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
// rsi.
.macro PUSH_REGS_BELOW_RETURN_ADDRESS
	PUSH	%rsi				// IRET=rsp+24 RA=[rsp+8]
	movq	8(%rsp), %rsi			// RA=rsi, and still [rsp+8]
	movq	%rdi, 8(%rsp)			// RA=rsi; the hints still say [rsp+8]
	PUSH	%rdx
	PUSH_REST %rax				// REGS=rsp
	ORC_REGS
	PUSH	%rsi				// REGS=rsp+8 RA=[rsp]
	CLEAR_REGS
.endm

.macro PUSH_REST rax
	PUSH	%rcx
	PUSH	\rax
	PUSH	%r8
	PUSH	%r9
	PUSH	%r10
	PUSH	%r11
	PUSH	%rbx
	PUSH	%rbp
	PUSH	%r12
	PUSH	%r13
	PUSH	%r14
	PUSH	%r15
.endm

// Nothing of the interrupted code stays in registers for speculation to use; rbp is 0 for some instructions.
.macro CLEAR_REGS
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
.endm

// rsp goes from pt_regs to the words for iretq.
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
	addq	$8, %rsp			// IRET=rsp
	ORC_ADJUST -8
.endm

// A maskable interrupt: no error code, no IST.
CODE idt_irq
	ORC_IRET				// IRET=rsp
	cld
	PUSH	$-1				// IRET=rsp+8
	call	error_entry			// rsp returns lower than it went: REGS=rsp on this stack, and in rax
moved_return_irq:
	movq	%rax, %rsp			// REGS=rsp; the hint before this still holds
	ORC_REGS
	leaq	1(%rsp), %rbp
	movq	%rsp, %rdi
	call	common_interrupt
	jmp	error_return
END_CODE idt_irq

// A page fault: an error code, no IST.
CODE idt_fault
	ORC_IRET 8				// IRET=rsp+8
	cld
	call	error_entry
moved_return_fault:
	movq	%rax, %rsp			// REGS=rsp; the hint before this still holds
	ORC_REGS
	leaq	1(%rsp), %rbp
	movq	%rsp, %rdi
	movq	REGS_ORIG_RAX(%rsp), %rsi	// the error code
	movq	$-1, REGS_ORIG_RAX(%rsp)	// no system call
	call	exc_page_fault
	jmp	error_return
END_CODE idt_fault

// Below the CPU's words and orig_ax: pushes the rest of pt_regs. Returns its address in rax: here, or on the task stack if
// user mode was interrupted.
CODE error_entry
	ORC_FUNC				// IRET=rsp+16 RA=[rsp]
	PUSH_REGS_BELOW_RETURN_ADDRESS
	leaq	8+1(%rsp), %rbp
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
	jnz	return_to_user
	POP_REGS
	ORC_IRET
	iretq
END_CODE error_return

CODE return_to_user
	ORC_REGS				// REGS=rsp, at the high end of the task stack
	POP_REGS
	ORC_IRET
	swapgs
	iretq
END_CODE return_to_user

// NMI, on a stack of its own (IST). What lies on it, from the top: the CPU's words, rdx, a word that says that an NMI is
// being handled, and a copy of the CPU's words, which is the end of pt_regs and is what iretq uses.
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
	leaq	1(%rsp), %rbp
	movq	%rsp, %rdi
	call	exc_nmi
	jmp	return_to_user

.Lnmi_from_kernel:
	ORC_IRET 8
	PUSH	$1				// IRET=rsp+16; an NMI is being handled
	.rept 5
	PUSH	48(%rsp)
	.endr					// IRET=rsp; and at rsp+56
	ORC_IRET
	PUSH	$-1				// IRET=rsp+8
	call	paranoid_entry			// REGS=rsp
moved_return_nmi:
	ORC_REGS
	movq	%rsp, %rdi
	call	exc_nmi
	movq	%rbx, %rax
	call	paranoid_exit
	POP_REGS				// IRET=rsp
	ORC_IRET
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
	movq	%rbx, %rax
	call	paranoid_exit
	POP_REGS				// IRET=rsp
	ORC_IRET
	iretq

.Ldebug_from_user:
	ORC_IRET 8
	call	error_entry
moved_return_debug_from_user:
	movq	%rax, %rsp			// REGS=rsp; nothing on the debug stack is needed any more
	ORC_REGS
	leaq	1(%rsp), %rbp
	movq	%rsp, %rdi
	call	exc_debug
	jmp	error_return
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
	movq	%rbx, %rax
	call	paranoid_exit
	POP_REGS				// IRET=rsp
	ORC_IRET
	iretq
END_CODE idt_double_fault

// error_entry for exceptions that can be taken at any time, so that CS does not tell whose GS base is loaded: it is saved
// in rbx. Stays on the stack.
CODE paranoid_entry
	ORC_FUNC				// IRET=rsp+16 RA=[rsp]
	PUSH_REGS_BELOW_RETURN_ADDRESS
	leaq	8+1(%rsp), %rbp
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	shlq	$32, %rdx
	movl	%eax, %ebx
	orq	%rdx, %rbx
	leaq	__current(%rip), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr					// the kernel's GS base
	ret					// REGS=rsp
END_CODE paranoid_entry

// Restores the GS base from rax.
CODE paranoid_exit
	ORC_FUNC				// REGS=rsp+8 RA=[rsp]
	movl	$MSR_GS_BASE, %ecx
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr
	ret
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
	movq	REGS_ORIG_RAX(%rsp), %rsi
	call	do_syscall_64
	jmp	return_to_user
END_CODE entry_SYSCALL_64

// Vectors, entry and exit of the small kernel. Part of kernel.S.
//
// In this file SP, x29 and x30 say nothing about a caller; the comments say where the interrupted state is. An exception
// taken while ELR_EL1 and SPSR_EL1 hold the only copy of the interrupted pc and status destroys them, on hardware as here.
// No exception can nest in these ranges, the second address of each excluded:
//
//   vectors                  .. its end
//   <entry>, __bad_stack     .. nest_from_<entry>, nest_from_bad_stack
//   nest_to_kernel           .. the end of ret_to_kernel
//   nest_to_user             .. the end of ret_to_user
//
// Three more ranges concern some exceptions only. Between el0_64_sync and nest_from_esr another synchronous exception
// overwrites ESR_EL1. Between __bad_stack and nest_from_tpidr another exception overwrites the SP that overflowed, if bit
// 14 is set in the addresses of the overflow stack. With SCS, another use of the IRQ stack loses x18 in call_on_irq_stack,
// from nest_to_scs to nest_from_scs and from nest_to_scs_back to nest_from_scs_back.
//
// Everywhere else, exceptions that no mask stops may interrupt entry, handler and exit. Between nest_from_<entry> and
// nest_record_<entry> the interrupted state survives, but pt_regs is not complete, so no walk along records can cross it.

// One slot. Makes room for pt_regs and, without a spare register, tests whether it is still inside the stack.
.macro SLOT handler
	.p2align 7
	sub	sp, sp, #PT_SIZE			// interrupted SP=sp+320, x0 as it was
	add	sp, sp, x0				// sp=SP-320+x0
	sub	x0, sp, x0				// x0=SP-320
	tbnz	x0, #STACK_SHIFT, 1f
	sub	x0, sp, x0				// x0 is itself again
	sub	sp, sp, x0				// sp=SP-320
	b	\handler
1:	msr	tpidr_el0, x0				// overflow: SP-320 is saved here,
	sub	x0, sp, x0
	msr	tpidrro_el0, x0				// and x0 here
	adr	x0, __stack_overflow_high
	ldr	x0, [x0]
	mov	sp, x0
	mrs	x0, tpidr_el0
	sub	x0, sp, x0				// how far SP-320 is below the top of the overflow stack
	tst	x0, #~0xfff
	b.ne	__bad_stack
	sub	sp, sp, x0				// the overflow stack itself was interrupted
	mrs	x0, tpidrro_el0
	b	\handler
.endm

	.text
	.p2align 11
	.globl vectors
	.type vectors, %function
vectors:
nest_to_vectors:				// no exception can nest in here
	SLOT	bad_mode				// EL1 with SP_EL0
	SLOT	bad_mode
	SLOT	bad_mode
	SLOT	bad_mode
	SLOT	el1h_64_sync				// EL1
	SLOT	el1h_64_irq
	SLOT	el1h_64_fiq
	SLOT	el1h_64_error
	SLOT	el0_64_sync				// EL0, 64 bits
	SLOT	el0_64_irq
	SLOT	el0_64_fiq
	SLOT	el0_64_error
	SLOT	bad_mode				// EL0, 32 bits
	SLOT	bad_mode
	SLOT	bad_mode
	SLOT	bad_mode
	.p2align 7
END_CODE vectors

CODE bad_mode
	b	.
END_CODE bad_mode

// x0..x29, into pt_regs at SP.
.macro SAVE_REGISTERS
	stp	x0, x1, [sp, #0]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
.endm

// Entry from the kernel. x29 holds the interrupted value until it moves, x30 until the handler is called.
.macro KERNEL_ENTRY_1 name
	SAVE_REGISTERS
	add	x21, sp, #PT_SIZE			// the interrupted SP
	mrs	x28, sp_el0				// current
	mrs	x22, elr_el1
	mrs	x23, spsr_el1
nest_from_\name:					// interrupted pc=x22, pstate=x23
	stp	x30, x21, [sp, #PT_LR]
	stp	xzr, xzr, [sp, #PT_RECORD]
	mov	x0, #TYPE_PT_REGS
	str	x0, [sp, #PT_TYPE]
	add	x29, sp, #PT_RECORD			// x29 points at a record in pt_regs, whose pc is still stale
	stp	x22, x23, [sp, #PT_PC]			// pt_regs is complete
nest_record_\name:
.endm

// Entry from user mode: SP is the pt_regs at the end of the task's stack. The kernel does not keep any of the user's values
// in registers.
.macro KERNEL_ENTRY_0 name
	SAVE_REGISTERS
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	mov	x\n, xzr
	.endr
	.irp	n, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
	mov	x\n, xzr
	.endr
	mrs	x21, sp_el0				// the user's SP
	adr	x28, __entry_task
	ldr	x28, [x28]
	msr	sp_el0, x28				// current
	mrs	x22, elr_el1
	mrs	x23, spsr_el1
nest_from_\name:					// interrupted pc=x22, pstate=x23
	stp	x30, x21, [sp, #PT_LR]
	stp	xzr, xzr, [sp, #PT_RECORD]
	mov	x0, #TYPE_FINAL
	str	x0, [sp, #PT_TYPE]
	add	x29, sp, #PT_RECORD			// x29 points at the outermost record
	stp	x22, x23, [sp, #PT_PC]			// pt_regs is complete
nest_record_\name:
	mov	w0, #-1
	str	w0, [sp, #PT_SYSCALLNO]			// no system call
.endm

// Restores x0..x30 from pt_regs at SP, and returns from the exception.
.macro RESTORE_REGISTERS
	ldp	x0, x1, [sp, #0]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]			// x29 holds the interrupted value, SP is still at pt_regs
	ldr	x30, [sp, #PT_LR]
	add	sp, sp, #PT_SIZE
	eret
.endm

.macro ENTRY_1 name, handler
CODE \name
	KERNEL_ENTRY_1 \name
	mov	x0, sp
	bl	\handler
	b	ret_to_kernel
END_CODE \name
.endm

.macro ENTRY_0 name, handler
CODE \name
	KERNEL_ENTRY_0 \name
	mov	x0, sp
	bl	\handler
	b	ret_to_user
END_CODE \name
.endm

ENTRY_1 el1h_64_sync, el1_sync_handler
ENTRY_1 el1h_64_irq, el1_interrupt_handler
ENTRY_1 el1h_64_fiq, el1_nmi_handler
ENTRY_1 el1h_64_error, el1_error_handler
ENTRY_0 el0_64_sync, el0_sync_handler
ENTRY_0 el0_64_irq, el0_interrupt_handler
ENTRY_0 el0_64_fiq, el0_nmi_handler
ENTRY_0 el0_64_error, el0_error_handler

// SP: pt_regs; x29: their record.
CODE ret_to_kernel
	msr	daifset, #15
	ldp	x21, x22, [sp, #PT_PC]
	msr	elr_el1, x21
nest_to_kernel:
	msr	spsr_el1, x22
	RESTORE_REGISTERS
END_CODE ret_to_kernel

CODE ret_to_user
	msr	daifset, #15
	ldp	x21, x22, [sp, #PT_PC]
	ldr	x23, [sp, #PT_SP]
	msr	sp_el0, x23				// no longer current: no handler would know its task
nest_to_user:
	msr	elr_el1, x21
	msr	spsr_el1, x22
	RESTORE_REGISTERS
END_CODE ret_to_user

// SP: the high end of the overflow stack. SP-320 and x0 of the interrupted code are where the slot saved them.
CODE __bad_stack
	sub	sp, sp, #PT_SIZE
	mrs	x0, tpidrro_el0
	KERNEL_ENTRY_1 bad_stack
	mrs	x0, tpidr_el0
nest_from_tpidr:
	add	x0, x0, #PT_SIZE
	str	x0, [sp, #PT_SP]			// where the code that overflowed really was
	mov	x0, sp
	bl	handle_bad_stack
	b	__sentinel				// there is nothing to return to: the run ends
END_CODE __bad_stack

// The end of these C functions. The record of each lies right below pt_regs.
.macro EXIT_TO_USER_MODE
#ifdef WALKS_USER
	add	x0, x29, #16
	bl	walk_user
#endif
.endm

// The C code of an exception taken in user mode. ESR_EL1 distinguishes a system call from a fault.
FUNC el0_sync_handler
							// CFA=sp RA=x30
	ENTER
	mrs	x1, esr_el1
nest_from_esr:
	lsr	x1, x1, #26
	msr	daifclr, #15
	cmp	x1, #0x15				// SVC from 64-bit code
	b.ne	1f
	bl	do_syscall
	b	2f
1:	bl	handle
2:	EXIT_TO_USER_MODE
	msr	daifset, #15
	LEAVE
END el0_sync_handler

FUNC el0_interrupt_handler
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #12
	adr	x1, do_irq
	bl	do_interrupt_handler
	EXIT_TO_USER_MODE
	msr	daifset, #15
	LEAVE
END el0_interrupt_handler

FUNC el0_nmi_handler
							// CFA=sp RA=x30
	ENTER
	adr	x1, do_nmi
	bl	do_interrupt_handler
	EXIT_TO_USER_MODE
	LEAVE
END el0_nmi_handler

FUNC el0_error_handler
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #8
	bl	handle
	EXIT_TO_USER_MODE
	msr	daifset, #15
	LEAVE
END el0_error_handler

// x0: pt_regs. Number 93 ends the task; any other takes a walk, calls SYS_CALL, and returns its result.
FUNC do_syscall
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
	ldr	x1, [x0, #0]
	ldr	x2, [x0, #64]
	str	x1, [x0, #PT_ORIG_X0]
	str	w2, [x0, #PT_SYSCALLNO]
	cmp	w2, #93
	b.ne	1f
	bl	do_exit
1:	bl	walk_here
	ldr	x0, [x19, #PT_ORIG_X0]
#ifdef SYS_CALL
	bl	SYS_CALL
#endif
	str	x0, [x19, #0]
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END do_syscall

// A small kernel for the guests that are really interrupted (guests/KERNEL.md): this file boots, and holds the data and the
// handlers; kernel_entry.S holds the vectors, kernel_sched.S the tasks. A guest includes it and defines `guest_main`.
// Before that it may define what the second task runs (OTHER_FN, a function, and OTHER_ARG, an address for it), what a
// softirq does (SOFTIRQ_ACTION), and what a system call does (SYS_CALL); OTHER_PC, if the second task does not start in
// ret_from_fork; PREEMPT_COUNT, if there is a word that disables preemption; or what an interrupt (IRQ_ACTION, which calls
// `handle`) or a breakpoint instruction (BRK_HANDLER) does. None of this may change once the kernel runs: an exception can
// switch tasks at any time.
#include "guest.h"
#include "frame.S"

#ifndef OTHER_FN
#define OTHER_FN	checker
#define OTHER_ARG	task_boot
#endif

// pt_regs: x0..x30, then the following. PT_RECORD is a metadata record {0, 0, type}, at which x29 points in a handler.
#define PT_X9		72
#define PT_FP		232
#define PT_LR		240
#define PT_SP		248
#define PT_PC		256
#define PT_PSTATE	264
#define PT_ORIG_X0	272
#define PT_SYSCALLNO	280
#define PT_RECORD	296
#define PT_TYPE		312
#define PT_SIZE		320

#define TYPE_FINAL	1				// the outermost record of a task
#define TYPE_PT_REGS	2				// followed by registers that were interrupted in the kernel

// struct task. TASK_CONTEXT is x19..x28, fp, sp, pc.
#define TASK_LOW	0
#define TASK_HIGH	8
#define TASK_CONTEXT	16
#define TASK_FP		96
#define TASK_SP		104
#define TASK_PC		112
#define TASK_X18	120				// with SCS, x18 of the task while the IRQ stack is in use
#define TASK_SIZE	128

#define STACK_SHIFT	14				// 16 KiB stacks at multiples of 32 KiB: bit 14 of a good SP is 0

STACK task, 0x4000
STACK other, 0x4000
STACK irq, 0x4000
STACK overflow, 0x1000
#ifdef SCS
STACK scs_irq, 0x1000
#endif

// WORD name, bytes: zeroed words that an interrupt may change for good.
.macro WORD name, bytes=8
	.pushsection .scratch, "aw"
	.p2align 3
	.globl \name
	.type \name, %object
\name:
	.zero \bytes
	.size \name, \bytes
	.popsection
.endm

WORD task_boot, TASK_SIZE
WORD task_other, TASK_SIZE
WORD __current
WORD __entry_task					// the running task, for entry from user mode and from firmware
WORD need_resched
WORD other_done						// set by a task_other that has nothing left to do
#ifdef PREEMPT_COUNT
WORD preempt_count					// not 0: an interrupt may not preempt here
#endif

// Boot. SP becomes the address of the boot task's pt_regs; they lie 16 bytes lower if the harness asks for the other
// residue of the CFA. The record stays at the end of the stack in both cases, because that is how a walk recognises it.
CODE _start
	mov	x30, xzr
	adr	x0, task_boot
	adr	x1, __stack_task_high
	ldr	x1, [x1]
	adr	x2, __stack_task_low
	ldr	x2, [x2]
	stp	x2, x1, [x0, #TASK_LOW]
	msr	sp_el0, x0				// `current`, in EL1
	adr	x2, __current
	str	x0, [x2]
	adr	x2, __entry_task
	str	x0, [x2]
	sub	x1, x1, #PT_SIZE
	stp	xzr, xzr, [x1, #PT_RECORD]
	mov	x2, #TYPE_FINAL
	str	x2, [x1, #PT_TYPE]
	sub	sp, sp, #PT_SIZE
	add	x29, x1, #PT_RECORD			// the chain of the boot task ends here
	adr	x2, vectors
	msr	vbar_el1, x2
	isb
	stp	x29, x30, [sp, #-16]!
	mov	x29, sp
	bl	setup_other
	ldp	x29, x30, [sp], #16
	msr	daifclr, #15
	bl	guest_main
	b	__sentinel				// the run ends
END_CODE _start

// The bounds of the second task's stack, and what it will run.
FUNC setup_other
							// CFA=sp RA=x30
	adr	x0, task_other
	adr	x1, __stack_other_low
	ldr	x1, [x1]
	adr	x2, __stack_other_high
	ldr	x2, [x2]
	stp	x1, x2, [x0, #TASK_LOW]
	adr	x0, OTHER_FN
	adr	x1, OTHER_ARG
#ifndef OTHER_PC
	b	copy_thread
#else
	ENTER
	bl	copy_thread
	adr	x0, task_other
	adr	x1, OTHER_PC
	str	x1, [x0, #TASK_PC]
	LEAVE
#endif
END setup_other

// Here a kernel would take a backtrace of itself. x0: the innermost pt_regs, or 0.
FUNC walk_here
							// CFA=sp RA=x30
	ret
END walk_here

// Here a kernel would take a backtrace of a task that is switched out. x0: its struct task.
FUNC walk_task
							// CFA=sp RA=x30
	ret
END walk_task

#ifdef WALKS_USER
// Here a kernel would take a backtrace of user mode, on its way back to it. x0: the pt_regs of the entry.
FUNC walk_user
							// CFA=sp RA=x30
	ret
END walk_user
#endif

// x0: the argument for the function, x1: the function. The record that links the two stacks is on the old one; between the
// two switches SP and x29 are on different stacks.
FUNC call_on_irq_stack
							// CFA=sp RA=x30
	mrs	x9, daif
	msr	daifset, #15
#ifdef SCS
	mrs	x10, sp_el0
	str	x18, [x10, #TASK_X18]
	adr	x18, __stack_scs_irq_low
nest_to_scs:						// from here on, a nested call would save the wrong x18,
	ldr	x18, [x18]
#endif
	ENTER
	adr	x10, __stack_irq_high
	ldr	x10, [x10]
	mov	sp, x10					// SP on the IRQ stack; CFA, RA and x29 on the old stack
#ifdef SCS
nest_from_scs:						// up to here
#endif
	msr	daif, x9
	blr	x1
	mrs	x9, daif
	msr	daifset, #15
	mov	sp, x29					// back; CFA=sp+16 too
	.cfi_def_cfa sp, 16
#ifdef SCS
nest_to_scs_back:					// and again from here
#endif
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
#ifdef SCS
	mrs	x10, sp_el0
	ldr	x18, [x10, #TASK_X18]
nest_from_scs_back:					// up to here
#endif
	msr	daif, x9
	ret
END call_on_irq_stack

// x0: pt_regs, x1: the handler. Calls it on the IRQ stack, unless the interrupted code had already left the task stack.
FUNC do_interrupt_handler
							// CFA=sp RA=x30
	ENTER
	mrs	x2, sp_el0
	ldr	x2, [x2, #TASK_LOW]
	eor	x2, x2, x29
	lsr	x2, x2, #STACK_SHIFT
	cbnz	x2, 1f
	bl	call_on_irq_stack
	b	2f
1:	blr	x1
2:	LEAVE
END do_interrupt_handler

// The C code of an interrupt taken in the kernel. While it is handled, D and A are unmasked, I and F masked.
FUNC el1_interrupt_handler
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
	msr	daifclr, #12
#ifdef PREEMPT_COUNT
	adr	x1, preempt_count
	ldr	x2, [x1]
	add	x2, x2, #1
	str	x2, [x1]
#endif
	adr	x1, do_irq
	bl	do_interrupt_handler
	msr	daifset, #15
#ifdef PREEMPT_COUNT
	adr	x1, preempt_count
	ldr	x2, [x1]
	sub	x2, x2, #1
	str	x2, [x1]
	cbnz	x2, 1f
#endif
	ldr	x0, [x19, #PT_PSTATE]
	tbnz	x0, #7, 1f				// interrupts were masked where it arrived: not preemptible
	mrs	x0, sp_el0
	ldr	x0, [x0, #TASK_LOW]
	eor	x0, x0, x29
	lsr	x0, x0, #STACK_SHIFT
	cbnz	x0, 1f					// neither is the IRQ stack
	adr	x0, need_resched
	ldr	x1, [x0]
	cbz	x1, 1f
	str	xzr, [x0]
	bl	preempt_schedule_irq
1:	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END el1_interrupt_handler

// The C code of an NMI taken in the kernel: everything stays masked.
FUNC el1_nmi_handler
							// CFA=sp RA=x30
	ENTER
	adr	x1, do_nmi
	bl	do_interrupt_handler
	LEAVE
END el1_nmi_handler

// The C code of a fault taken in the kernel: unmasks what the interrupted code had unmasked.
FUNC el1_sync_handler
							// CFA=sp RA=x30
	ENTER
#ifdef BRK_HANDLER
	mrs	x1, esr_el1
	lsr	x1, x1, #26
	cmp	x1, #0x3c
	b.ne	1f
	bl	BRK_HANDLER				// everything stays masked
	b	2f
1:
#endif
	ldr	x1, [x0, #PT_PSTATE]
	and	x1, x1, #0x3c0
	msr	daif, x1
	bl	handle
	msr	daifset, #15
#ifdef BRK_HANDLER
2:
#endif
	LEAVE
END el1_sync_handler

// The C code of an SError taken in the kernel: only D is unmasked.
FUNC el1_error_handler
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #8
	bl	handle
	msr	daifset, #15
	LEAVE
END el1_error_handler

FUNC do_irq
							// CFA=sp RA=x30
	ENTER
#ifdef IRQ_ACTION
	bl	IRQ_ACTION
#else
	bl	handle
#endif
	LEAVE
END do_irq

FUNC do_nmi
							// CFA=sp RA=x30
	ENTER
	bl	handle
	LEAVE
END do_nmi

// x0: pt_regs. Every handler ends up here.
FUNC handle
							// CFA=sp RA=x30
	ENTER
	bl	walk_here
	LEAVE
END handle

// x0: pt_regs on the overflow stack.
FUNC handle_bad_stack
							// CFA=sp RA=x30
	ENTER
	bl	handle
	LEAVE
END handle_bad_stack

// From task context, with interrupts masked there: the softirqs run on the IRQ stack.
FUNC do_softirq_own_stack
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mrs	x19, daif
	msr	daifset, #3
	mov	x0, xzr
	adr	x1, do_softirq
	bl	call_on_irq_stack
	msr	daif, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END do_softirq_own_stack

// On the IRQ stack. An action runs with interrupts unmasked.
FUNC do_softirq
							// CFA=sp RA=x30
	ENTER
	msr	daifclr, #3
#ifdef SOFTIRQ_ACTION
	bl	SOFTIRQ_ACTION
#endif
	msr	daifset, #3
	LEAVE
END do_softirq

#include "kernel_entry.S"
#include "kernel_sched.S"

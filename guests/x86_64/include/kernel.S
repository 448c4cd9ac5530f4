// A small x86-64 kernel, included by the guests that are really interrupted (guests/KERNEL.md). This file: stacks, words,
// boot. kernel_entry.S: the CPU's entry points, and the exit. kernel_handler.S: what an entry calls, up to the stack walk.
// kernel_sched.S: tasks.
//
// With -DUNWINDER_FRAME_POINTER or -DUNWINDER_ORC it is a kernel of that configuration, which only the unwinders of that
// configuration walk; without either, an entry leaves pt_regs|1 in rbp, there are records, and all unwinders walk. As in a kernel, rsp is only 8-byte aligned, nothing is kept
// below it (no red zone), and RFLAGS.IF is set where a kernel enables interrupts: guest_main runs with it, entries and the
// end of exits without. Words that a kernel reaches through gs are reached by their address; swapgs and the GS base are
// kept right all the same.
//
// In addition to the comments described in README.md, `IRET=rsp+n` says where the five words are that the CPU pushed, and
// `REGS=rsp+n` where a complete pt_regs is.
#include "guest.h"
#include "orc.S"
#include "frame.S"

// Which configuration it is, for the harness: symbols of a byte that nobody reads.
.macro CONFIG name
	.pushsection .rodata
	.globl __config_\name
	.type __config_\name, @object
	.size __config_\name, 1
__config_\name:
	.byte 1
	.popsection
.endm
#ifdef UNWINDER_ORC
	CONFIG unwinder_orc
#endif
#ifdef UNWINDER_FRAME_POINTER
	CONFIG frame_pointer
#endif

STACK task, 0x4000
STACK other, 0x4000
STACK irq, 0x4000
#define NMI_STACK_SIZE	0x2000
STACK nmi, NMI_STACK_SIZE			// IST
STACK db, 0x2000				// IST
STACK df, 0x2000				// IST
STACK entry, 0x1000				// RSP0: where the CPU pushes the frame when it comes from user mode
STACK user, 0x1000

// struct task
#define TASK_LOW	0
#define TASK_HIGH	8
#define TASK_SP		16
#define TASK_RECURSION	24				// 1: a tracer runs in the task, 2: in an interrupt
#define TASK_SIZE	32

// struct pt_regs
#define REGS_RAX	80
#define REGS_ORIG_RAX	120
#define REGS_RIP	128
#define REGS_CS		136
#define REGS_RFLAGS	144
#define REGS_RSP	152
#define REGS_SS		160
#define REGS_SIZE	168

#define USER_DS		0x23
#define USER_CS		0x2b
#define RFLAGS_IF	0x200
#define RFLAGS_DF	0x400
#define MSR_GS_BASE	0xc0000101

// Parts of preempt_count, which is zero where a task may be preempted.
#define COUNT_PREEMPT	1
#define COUNT_SOFTIRQ	0x100
#define COUNT_HARDIRQ	0x10000

// What task_other runs, with 0 as its argument. A guest may define another function before it includes this file.
#ifndef OTHER_TASK
#define OTHER_TASK	checker
#endif
// Where task_other begins.
#ifndef OTHER_ENTRY
#define OTHER_ENTRY	ret_from_fork_asm
#endif

// WORD name, value: a word that an interrupt may change for good.
.macro WORD name, size=8
	.pushsection .scratch, "aw"
	.p2align 3
	.globl \name
	.type \name, @object
	.size \name, \size
\name:
	.fill \size / 8, 8, 0
	.popsection
.endm

WORD task_boot, TASK_SIZE
WORD task_other, TASK_SIZE
WORD __current					// the task whose stack is in use: written with the switch of stacks
WORD current_task				// what the kernel takes for the running task
WORD need_resched
WORD preempt_count
WORD hardirq_stack_inuse
WORD other_exited
WORD overflow_is_fatal
WORD cpu_current_top_of_stack			// the high end of the running task's stack
WORD cpu_user_rsp				// for the three instructions in which a system call has no stack yet

	.pushsection .data
	.p2align 3
	.globl hardirq_stack_ptr
	.type hardirq_stack_ptr, @object
	.size hardirq_stack_ptr, 8
hardirq_stack_ptr:				// the topmost word of the IRQ stack
	.quad 0

	.globl __gdt
	.type __gdt, @object
	.size __gdt, 48
__gdt:						// all of them flat, and marked as accessed: the CPU never writes here
	.quad 0
	.quad 0
	.quad 0x00af9b000000ffff		// 0x10 kernel code
	.quad 0x00cf93000000ffff		// 0x18 kernel data
	.quad 0x00cff3000000ffff		// 0x20 user data
	.quad 0x00affb000000ffff		// 0x28 user code
	.popsection

	.pushsection .rodata
gdt_pointer:
	.type gdt_pointer, @object
	.size gdt_pointer, 10
	.short 47
	.quad __gdt
	.popsection

// What a CPU does at boot: the chain of records ends with that of guest_main, at task_pt_regs - 16.
CODE _start
	ORC_END_OF_STACK
	lgdt	gdt_pointer(%rip)
	movl	$MSR_GS_BASE, %ecx
	leaq	__current(%rip), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr					// negative, as a kernel's is
	movq	__stack_irq_high(%rip), %rax
	subq	$8, %rax
	movq	%rax, hardirq_stack_ptr(%rip)
	movq	__stack_nmi_high(%rip), %rax
	movq	$0, -56(%rax)			// no NMI is being handled
	movq	__stack_task_low(%rip), %rax
	movq	%rax, task_boot+TASK_LOW(%rip)
	movq	__stack_task_high(%rip), %rsp
	movq	%rsp, task_boot+TASK_HIGH(%rip)
	movq	%rsp, cpu_current_top_of_stack(%rip)
	leaq	task_boot(%rip), %rax
	movq	%rax, __current(%rip)
	movq	%rax, current_task(%rip)
	.rept REGS_SIZE / 8
	pushq	$0				// stands for the registers of an entry from user mode
	.endr					// REGS=rsp
	xorl	%ebp, %ebp			// no caller
	leaq	task_other(%rip), %rdi
	movq	__stack_other_low(%rip), %rsi
	movq	__stack_other_high(%rip), %rdx
	leaq	OTHER_TASK(%rip), %rcx
	xorl	%r8d, %r8d
	call	fork_task
	sti
	call	guest_main
	jmp	__sentinel			// the run ends
END_CODE _start

#include "kernel_entry.S"
#include "kernel_handler.S"
#include "kernel_sched.S"

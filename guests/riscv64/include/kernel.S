// A small riscv64 kernel for guests that are really interrupted: guests/KERNEL.md says what it must provide. A guest
// includes it (`#include "kernel.S"`, `//@ start none`) and defines `guest_main`. It has two forms:
//
// * without METADATA, the mainline form: pt_regs is 288 bytes, and no marks are on the stack; an exception leaves s0 equal
//   to the interrupted SP when it calls C, and a new kernel thread starts with its function in s0.
// * with -DMETADATA, the proposal for reliable stack traces (thread S4): after pt_regs lies a record {0, 0, type}, of type
//   FINAL at the high end of a task's stack (entry from user mode, fork, boot) and of type PT_REGS elsewhere; s0 points
//   above its first two words, as it does for any frame record.
//
// What a guest may define before it includes this file: KTHREAD (the function of the second task, else `checker`), and
// one of BOOT_PRIMARY and BOOT_SECONDARY (how `guest_main` is reached, see `_start`).
//
// The other parts: kernel_entry.S (trap entry, exit, stack overflow; what can nest where), kernel_irq.S (the handlers and
// the IRQ stack), kernel_sched.S (context switch, fork, checker).
#include "guest.h"

STACK task, 0x4000
STACK other, 0x4000
STACK irq, 0x4000
STACK overflow, 0x1000
STACK user, 0x1000

// The overflow test looks at this bit of SP: it is 0 in every 16 KiB stack, and 1 just below each.
#define THREAD_SHIFT	14

// pt_regs: epc in place of x0, then x1..x31 by number, then these.
#define PT_EPC		0
#define PT_RA		8
#define PT_SP		16
#define PT_GP		24
#define PT_TP		32
#define PT_T0		40
#define PT_A0		80
#define PT_A7		136
#define PT_STATUS	256
#define PT_BADADDR	264
#define PT_CAUSE	272
#define PT_ORIG_A0	280
#define PT_REGS_END	288
#ifdef METADATA
#define PT_RECORD_FP	PT_REGS_END
#define PT_RECORD_RA	296
#define PT_TYPE		304			// also where s0 points
#define PT_SIZE		320
#define TYPE_FINAL	1
#define TYPE_PT_REGS	2
#else
#define PT_SIZE		PT_REGS_END
#endif

#define SR_SIE		0x2
#define SR_SPIE		0x20
#define SR_SPP		0x100
#define SR_SUM		0x40000
#define SR_UNITS	0x806600		// ELP, FS and VS

// struct task. The context of a task that is switched out is at TASK_RA: ra, sp, s0..s11.
#define TASK_LOW	0			// bounds of its stack
#define TASK_HIGH	8
#define TASK_RA		16
#define TASK_SP		24
#define TASK_S0		32
#define TASK_S1		40
#define TASK_S2		48
#define TASK_S3		56
#define TASK_KERNEL_SP	128			// scratch of the trap entry; while in user mode, where the kernel's stack ends
#define TASK_USER_SP	136			// scratch of the trap entry
#define TASK_SUM	144			// sstatus, for its SUM bit
#define TASK_SIZE	152

// WORD name, value / TASK name: words that an interrupt may change for good.
.macro WORD name, value
	.pushsection .scratch, "aw"
	.p2align 3
	.globl \name
	.type \name, @object
\name:
	.quad \value
	.size \name, 8
	.popsection
.endm

.macro TASK name
	.pushsection .scratch, "aw"
	.p2align 3
	.globl \name
	.type \name, @object
\name:
	.zero TASK_SIZE
	.size \name, TASK_SIZE
	.popsection
.endm

TASK task_boot
TASK task_other
WORD __current, 0
WORD need_resched, 0
WORD kernel_gp, 0				// the value of gp in the kernel; no code uses it

#ifndef KTHREAD
#define KTHREAD		checker
#endif

// Entered with sp at the high end of the task stack, or 16 bytes below it, and with interrupts off.
CODE _start
						// no caller: neither CFA nor RA
	lla	tp, task_boot
	lla	t0, __current
	sd	tp, 0(t0)
	ld	t1, __stack_task_low
	sd	t1, TASK_LOW(tp)
	ld	t2, __stack_task_high
	sd	t2, TASK_HIGH(tp)
	sd	t2, TASK_KERNEL_SP(tp)
	lla	t0, task_other
	ld	t1, __stack_other_low
	sd	t1, TASK_LOW(t0)
	ld	t1, __stack_other_high
	sd	t1, TASK_HIGH(t0)
	sd	t1, TASK_KERNEL_SP(t0)
	lla	t0, handle_exception
	csrw	stvec, t0
	csrw	sscratch, zero			// says: in the kernel
	addi	sp, sp, -PT_SIZE		// pt_regs of the boot task, which never came from user mode
#ifndef BOOT_SECONDARY
	li	s0, 0
#endif
#ifdef METADATA
	addi	s0, t2, -PT_SIZE
	sd	zero, PT_RECORD_FP(s0)
	sd	zero, PT_RECORD_RA(s0)
	li	t0, TYPE_FINAL
	sd	t0, PT_TYPE(s0)
	addi	s0, s0, PT_TYPE			// above the record that ends every chain of this task
#endif
	lla	a0, task_other
	lla	a1, KTHREAD
	li	a2, 7
	call	copy_thread
	csrsi	sstatus, SR_SIE
#if defined(BOOT_PRIMARY)
	// As a primary CPU: guest_main is start_kernel, reached by a jump. The ra that it saves is left over from this
	// call: it names the next instruction, to which nothing returns. guest_main must not return.
	call	soc_early_init
	tail	guest_main
#elif defined(BOOT_SECONDARY)
	tail	secondary_start
#else
	call	guest_main
	tail	__sentinel			// the run ends
#endif
END_CODE _start

#ifdef BOOT_PRIMARY
FUNC soc_early_init
						// CFA=sp RA=ra
	ret
END soc_early_init
#endif

#ifdef BOOT_SECONDARY
// As a secondary CPU starts its idle task: a fork made the task (so its pt_regs ends with a FINAL record, if there are such
// records), and gives it sp; s0 is whatever the CPU came up with, and only the metadata form sets it. guest_main is
// smp_callin and must not return.
CODE secondary_start
						// no caller: neither CFA nor RA
#ifdef METADATA
	addi	s0, sp, PT_TYPE
#endif
	call	guest_main
1:	j	1b				// where a CPU that failed to start is parked
END_CODE secondary_start
#endif

#include "kernel_entry.S"
#include "kernel_irq.S"
#include "kernel_sched.S"

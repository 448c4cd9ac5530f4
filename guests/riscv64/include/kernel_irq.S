// What trap entry calls, in the form of C code compiled with frame pointers, and the IRQ stack. Part of kernel.S.

// a0: pt_regs. Runs the handlers on the IRQ stack, unless the interrupted code was not on its task's stack.
FUNC do_irq
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s1, a0
	ld	t0, TASK_LOW(tp)
	bltu	sp, t0, 1f
	ld	t0, TASK_HIGH(tp)
	bgeu	sp, t0, 1f
	lla	a1, handle_riscv_irq
	call	call_on_irq_stack
	j	2f
1:	call	handle_riscv_irq
2:	mv	a0, s1
	call	irqentry_exit
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END do_irq

// a0: pt_regs.
FUNC handle_riscv_irq
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	handler
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END handle_riscv_irq

// a0: pt_regs. A driver's handler: uses a callee-saved register, and takes a backtrace.
FUNC handler
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s2, 8(sp)
	.cfi_offset s2, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s2, a0
#ifdef IRQ_TRACED
	call	traced_handler			// the guest's, which calls walk_here
#else
	call	walk_here
#endif
	mv	a0, s2
	ld	s2, 8(sp)
	.cfi_restore s2
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END handler

// a0: pt_regs. A synchronous fault: it is repaired, so the instruction runs again.
FUNC do_fault
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s1, a0
	call	walk_here
	mv	a0, s1
	call	irqentry_exit
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END do_fault

// The system call that ends the run; every other one increments its argument.
#define SYSCALL_END	93

// a0: pt_regs. An ecall from user mode.
FUNC do_syscall
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s1, a0
	ld	t0, PT_EPC(s1)
	addi	t0, t0, 4			// after the ecall
	sd	t0, PT_EPC(s1)
	ld	t0, PT_A0(s1)
	sd	t0, PT_ORIG_A0(s1)
	addi	t0, t0, 1
	sd	t0, PT_A0(s1)
	call	walk_here
	ld	t0, PT_A7(s1)
	addi	t0, t0, -SYSCALL_END
	bnez	t0, 1f
	tail	__sentinel			// the run ends
1:	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END do_syscall

// a0: the innermost pt_regs, or 0. The harness walks here.
FUNC walk_here
						// CFA=sp RA=ra
	ret
END walk_here

// a0: pt_regs. On the way back to kernel code that could be preempted (it ran on its task's stack, with interrupts on),
// lets another task run if a reschedule is requested.
FUNC irqentry_exit
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	ld	t0, PT_STATUS(a0)
	andi	t1, t0, SR_SPP
	beqz	t1, 1f
	andi	t1, t0, SR_SPIE
	beqz	t1, 1f
	ld	t0, TASK_LOW(tp)
	bltu	sp, t0, 1f
	ld	t0, TASK_HIGH(tp)
	bgeu	sp, t0, 1f
#ifdef FGRAPH
	ld	t0, preempt_count
	bnez	t0, 1f
#endif
	lla	t0, need_resched
	ld	t1, 0(t0)
	beqz	t1, 1f
	sd	zero, 0(t0)
	call	preempt_schedule_irq
1:	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END irqentry_exit

FUNC preempt_schedule_irq
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	schedule
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END preempt_schedule_irq

// a0: the argument for the function, a1: the function. The caller has interrupts off.
FUNC call_on_irq_stack
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	ld	t0, __stack_irq_high		// two instructions
	mv	sp, t0				// sp on the IRQ stack; CFA, RA and s0 on the task stack
	jalr	a1
	addi	sp, s0, -16			// back; CFA=sp+16 too
	.cfi_def_cfa sp, 16
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END call_on_irq_stack

// a0: a softirq's function, run on the IRQ stack from task context.
FUNC do_softirq_own_stack
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	csrrci	s1, sstatus, SR_SIE
	andi	s1, s1, SR_SIE
	lla	a1, handle_softirqs
	call	call_on_irq_stack
	csrs	sstatus, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END do_softirq_own_stack

// a0: the function. Runs it with interrupts on.
FUNC handle_softirqs
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	csrsi	sstatus, SR_SIE
	jalr	a0
	csrci	sstatus, SR_SIE
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END handle_softirqs

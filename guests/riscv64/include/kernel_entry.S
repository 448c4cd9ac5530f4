// Trap entry, trap exit, stack overflow. Part of kernel.S.
//
// Where an exception cannot nest. riscv has one set of trap CSRs: a second trap overwrites sepc, scause and sstatus.SPP, so
// it destroys the first wherever those hold what memory does not. sscratch says where a trap comes from, so a second trap
// also destroys the first where sscratch is not 0 in the kernel. Real hardware is no better off: no interrupt arrives here
// (SIE is 0), and a synchronous fault here is fatal. So in S-mode no nested exception is delivered before an instruction
// whose pc is in
//
//   [handle_exception, nest_from), [nest_user_from, nest_user_to) or [nest_to, ret_from_exception_end),
//
// or while sscratch is not 0. It may be delivered before all other instructions of entry, handlers and exit.
//
// | before the instructions                       | a nested exception destroys                                     |
// |-----------------------------------------------|-----------------------------------------------------------------|
// | handle_exception .. `csrr s4, scause`         | sepc, scause, sstatus.SPP of the first                          |
// | .. `csrw sscratch, zero`                      | pt_regs of the first: sscratch says "from user", so the second  |
// |                                               | lays its own over it, or takes a wrong word for the task        |
// | `csrw sscratch, tp` (nest_user_from)          | the task's kernel sp, which the trap entry from the kernel uses |
// |                                               | as scratch: the next trap from user mode finds a lower one      |
// | .. `csrw sstatus`, on the way to user mode     | pt_regs of the first: sscratch says "from user" again           |
// | nest_to .. `sret`                             | sstatus.SPP (cleared by the second sret) and sepc, which were   |
// |                                               | loaded from pt_regs already                                     |
// | handle_kernel_stack_overflow, handle_bad_stack| the stack below the one that overflowed: sscratch still says    |
// |                                               | "from user", with the sp that overflowed. None of this returns  |

	.globl	nest_from, nest_to, nest_user_from, nest_user_to, ret_from_exception_end

// stvec. The CPU has set sepc, scause, stval and sstatus.{SPP,SPIE}, cleared sstatus.SIE, and switched no register.
// sscratch is 0 in the kernel, and the task's address in user mode.
CODE handle_exception
						// the interrupted frame is in the CSRs and, step by step, in pt_regs
	csrrw	tp, sscratch, tp
	bnez	tp, 1f				// from user mode; tp is the task, sscratch the user's tp
	csrr	tp, sscratch			// from the kernel: restores tp; sscratch is not 0 for a while
	sd	sp, TASK_KERNEL_SP(tp)
	addi	sp, sp, -PT_SIZE		// no stack pointer for five instructions
	srli	sp, sp, THREAD_SHIFT
	andi	sp, sp, 1
	bnez	sp, handle_kernel_stack_overflow
	ld	sp, TASK_KERNEL_SP(tp)
1:
	sd	sp, TASK_USER_SP(tp)		// the interrupted sp, from either
	ld	sp, TASK_KERNEL_SP(tp)
	addi	sp, sp, -PT_SIZE		// sp is pt_regs
	sd	ra, PT_RA(sp)
	sd	gp, PT_GP(sp)
	sd	t0, PT_T0(sp)
	.irp	n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	sd	x\n, (8 * \n)(sp)
	.endr
	li	t0, SR_SUM | SR_UNITS
	ld	s0, TASK_USER_SP(tp)		// from here on s0 is no frame pointer, but the interrupted sp
	csrrc	s1, sstatus, t0
	csrr	s2, sepc
	csrr	s3, stval
	csrr	s4, scause
	csrr	s5, sscratch			// the interrupted tp, from either
	sd	s0, PT_SP(sp)
	sd	s1, PT_STATUS(sp)
	sd	s2, PT_EPC(sp)
	sd	s3, PT_BADADDR(sp)
	sd	s4, PT_CAUSE(sp)
	sd	s5, PT_TP(sp)			// pt_regs is complete
#ifdef METADATA
	sd	zero, PT_RECORD_FP(sp)
	sd	zero, PT_RECORD_RA(sp)
	andi	t0, s1, SR_SPP
	snez	t0, t0
	addi	t0, t0, TYPE_FINAL		// FINAL from user mode, PT_REGS from the kernel
	sd	t0, PT_TYPE(sp)
	addi	s0, sp, PT_TYPE			// s0 is a frame pointer again: it points above the record
#endif
	csrw	sscratch, zero
nest_from:
	lla	gp, kernel_gp
	mv	a0, sp
	bgez	s4, 2f
	call	do_irq
	j	ret_from_exception
2:
	sltiu	t0, s4, 16
	lla	t1, do_fault			// for causes that the table does not have
	beqz	t0, 3f
	slli	t0, s4, 3
	lla	t1, exception_table
	add	t0, t0, t1
	ld	t1, 0(t0)
3:
	jalr	t1
	j	ret_from_exception
END_CODE handle_exception

// sp is pt_regs.
CODE ret_from_exception
						// the interrupted frame is in pt_regs
	ld	s0, PT_STATUS(sp)		// from here on s0 is no frame pointer, in either form
	csrci	sstatus, SR_SIE
	andi	s0, s0, SR_SPP
	mv	a0, sp
	bnez	s0, 1f
	call	noop_c_callee			// to user mode: C, called with s0 = 0
	addi	s0, sp, PT_SIZE
	sd	s0, TASK_KERNEL_SP(tp)
nest_user_from:
	csrw	sscratch, tp
	j	2f
nest_user_to:
1:
	call	noop_c_callee			// to the kernel: C, called with s0 = 0x100
2:
	ld	a0, PT_STATUS(sp)
	ld	a2, PT_EPC(sp)
	sc.d	zero, a2, (sp)			// drops an LR reservation; the word it would store is there already
	csrw	sstatus, a0			// SPP holds the interrupted value again
nest_to:
	csrw	sepc, a2
	ld	ra, PT_RA(sp)
	ld	gp, PT_GP(sp)
	ld	tp, PT_TP(sp)
	ld	t0, PT_T0(sp)
	.irp	n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	ld	x\n, (8 * \n)(sp)		// s0 gets the interrupted value early among these
	.endr
	ld	sp, PT_SP(sp)
	sret
END_CODE ret_from_exception
ret_from_exception_end:

// The stack pointer was too low for pt_regs. The interrupted sp is in the task; t6 and all other registers still hold the
// interrupted values. In neither form is a metadata record built here (a gap of the proposal), so the words after pt_regs
// are whatever was there, and s0 is the sp that overflowed.
CODE handle_kernel_stack_overflow
						// as in handle_exception
	ld	sp, __stack_overflow_high	// two instructions
	addi	sp, sp, -PT_SIZE		// sp is pt_regs
	sd	ra, PT_RA(sp)
	sd	gp, PT_GP(sp)
	sd	t0, PT_T0(sp)
	.irp	n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	sd	x\n, (8 * \n)(sp)
	.endr
	ld	s0, TASK_KERNEL_SP(tp)
	csrr	s1, sstatus
	csrr	s2, sepc
	csrr	s3, stval
	csrr	s4, scause
	csrr	s5, sscratch
	sd	s0, PT_SP(sp)
	sd	s1, PT_STATUS(sp)
	sd	s2, PT_EPC(sp)
	sd	s3, PT_BADADDR(sp)
	sd	s4, PT_CAUSE(sp)
	sd	s5, PT_TP(sp)
	mv	a0, sp
	tail	handle_bad_stack		// ra still holds the interrupted value
END_CODE handle_kernel_stack_overflow

// a0: pt_regs. Does not return: a kernel panics here.
FUNC handle_bad_stack
						// CFA=sp; RA=ra is the interrupted ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	walk_here
	tail	__sentinel			// parked: the run ends
END handle_bad_stack

// What ret_from_exception calls while s0 holds bits of sstatus: its frame record links to no stack. Linux calls C there in two
// configurations: with KSTACK_ERASE, stackleak_erase_on_task_stack on the way to user mode; with RISCV_ISA_V_PREEMPTIVE,
// riscv_v_context_nesting_end on both ways. With neither it calls nothing.
FUNC noop_c_callee
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	nop
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END noop_c_callee

	.pushsection .rodata
	.p2align 3
	.type	exception_table, @object
exception_table:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	.quad	do_fault
	.endr
	.quad	do_syscall			// ecall from user mode
	.irp	n, 9, 10, 11, 12, 13, 14, 15
	.quad	do_fault
	.endr
	.size	exception_table, . - exception_table
	.popsection

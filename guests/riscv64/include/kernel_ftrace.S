// What calls tracers, for guests with traced functions: included after kernel.S, by a guest that has defined FGRAPH before
// that. KERNEL.md, "Hooked return addresses", has the names.
//
// A traced function calls ftrace_caller at its entry, which saves the arguments and calls the function's operation. That
// may replace the return address, or change where the function continues. In mainline ftrace_caller has no frame record.
// With RECORDS it has two, as arm64's has: one for the traced function's caller, one for the traced function.
//
// With DIRECT, an operation can name a trampoline of its own instead of ftrace_caller, from the start or by FREGS_DIRECT.

// struct ftrace_regs, its documented part only.
#define FREGS_EPC	0
#define FREGS_RA	8
#define FREGS_SP	16
#define FREGS_S0	24
#define FREGS_DIRECT	40			// where a direct call goes, 0 for none
#define FREGS_A0	48
#define FREGS_A1	56
#define FREGS_SIZE	112

// The frame of ftrace_caller: struct ftrace_regs, and above it the records.
#ifdef RECORDS
#define RECORD_TRACED	FREGS_SIZE
#define RECORD_CALLER	(FREGS_SIZE + 16)
#define CALLER_FRAME	(FREGS_SIZE + 32)
#else
#define CALLER_FRAME	FREGS_SIZE
#endif

// An ftrace operation: what is called, and for direct calls what replaces it.
#define OPS_FUNC	0
#define OPS_DIRECT	8

WORD preempt_count, 0
WORD trace_recursion, 0				// bit 0: a tracer runs in task context; bit 1: in an interrupt

// OPS name, func, direct
.macro OPS name, func, direct=0
	.pushsection .rodata
	.p2align 3
	.type \name, @object
\name:
	.quad \func, \direct
	.size \name, 16
	.popsection
.endm

// TRACED name, ops, called: a traced function. Its first two instructions, which a compiler leaves as NOPs, are the patched
// call; the word before them names the operation. t0 is the link register of this call, so ra still holds the caller's
// resume address.
.macro TRACED name, ops=graph_ops, called=ftrace_caller
	.text
	.p2align 4
	.quad 0
	.quad \ops
	.globl \name
	.type \name, %function
\name:
	.cfi_startproc
	call	t0, \called
.endm

// ENTER size / LEAVE size: a frame with its record, as compilers build it; ra and s0 are in its highest words.
.macro ENTER size
	addi	sp, sp, -\size			// CFA=sp+size
	.cfi_def_cfa_offset \size
	sd	ra, (\size - 8)(sp)		// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, (\size - 16)(sp)
	.cfi_offset s0, -16
	addi	s0, sp, \size			// CFA=s0
	.cfi_def_cfa s0, 0
.endm

.macro LEAVE size
	ld	ra, (\size - 8)(sp)		// RA=ra
	.cfi_restore ra
	ld	s0, (\size - 16)(sp)		// CFA=sp+size
	.cfi_def_cfa sp, \size; .cfi_restore s0
	addi	sp, sp, \size			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
.endm

// Disables preemption, as taking a recursion lock does. An interrupt has a lock of its own.
.macro RECURSION_LOCK
	lla	t3, preempt_count
	ld	t4, 0(t3)
	addi	t4, t4, 1
	sd	t4, 0(t3)
.endm

// Enables it again: the task can be switched out here, with no pt_regs on its stack.
.macro RECURSION_UNLOCK
	lla	t3, preempt_count
	ld	t4, 0(t3)
	addi	t4, t4, -1
	sd	t4, 0(t3)
	bnez	t4, 9f
	lla	t3, need_resched
	ld	t4, 0(t3)
	beqz	t4, 9f
	call	preempt_schedule_notrace
9:
.endm

// The complete lock against tracing the tracer in the present context: \bit, which belongs to the caller. Goes to \busy if
// it is held. Interrupts leave the word as it was.
.macro RECURSION_TRYLOCK bit, busy
	ld	t3, TASK_LOW(tp)
	sub	t3, sp, t3
	srli	t3, t3, THREAD_SHIFT
	snez	t3, t3
	addi	\bit, t3, 1			// 1 on the task's stack, 2 elsewhere
	lla	t3, trace_recursion
	ld	t4, 0(t3)
	and	t5, t4, \bit
	bnez	t5, \busy
	or	t4, t4, \bit
	sd	t4, 0(t3)
	RECURSION_LOCK
.endm

// Releases it: first preemption, so that the task can be switched out here while it still holds the bit.
.macro RECURSION_RELEASE bit
	RECURSION_UNLOCK
	lla	t3, trace_recursion
	ld	t4, 0(t3)
	not	t5, \bit
	and	t4, t4, t5
	sd	t4, 0(t3)
.endm

// From a traced function: t0 is where it resumes, ra its caller's resume address. All arguments are preserved. ra holds the
// tracer's address for two instructions, and after that an address in here, until the end.
CODE ftrace_caller
						// CFA=sp RA=t0; its caller's is ra
#ifdef DIRECT
	ld	t1, -16(t0)			// an operation that is a direct call needs no more
	ld	t1, OPS_DIRECT(t1)
	bnez	t1, 1f
#endif
	addi	sp, sp, -CALLER_FRAME		// CFA=sp+CALLER_FRAME
	sd	t0, FREGS_EPC(sp)		// RA=[sp]
	sd	ra, FREGS_RA(sp)		// the caller's RA=[sp+8], which the tracer may replace
	sd	s0, FREGS_S0(sp)
#ifdef DIRECT
	sd	t1, FREGS_DIRECT(sp)		// 0
#else
	sd	zero, FREGS_DIRECT(sp)
#endif
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	sd	a\n, (FREGS_A0 + 8 * \n)(sp)
	.endr
	addi	a0, sp, CALLER_FRAME
	sd	a0, FREGS_SP(sp)
#ifdef RECORDS
	sd	s0, RECORD_CALLER(sp)
	sd	ra, (RECORD_CALLER + 8)(sp)	// for good: the tracer does not replace this copy
	addi	s0, sp, RECORD_CALLER + 16	// linked: the traced function's caller
	sd	s0, RECORD_TRACED(sp)
	sd	t0, (RECORD_TRACED + 8)(sp)
	addi	s0, sp, RECORD_TRACED + 16	// linked: the traced function
#endif
	addi	a0, t0, -8			// the function
	mv	a1, ra
	ld	a2, -16(t0)			// its operation
	ld	ra, OPS_FUNC(a2)
	mv	a3, sp
	jalr	ra
	ld	t0, FREGS_EPC(sp)		// RA=t0, which the tracer may have replaced
	ld	ra, FREGS_RA(sp)		// the caller's, or return_to_handler
	ld	s0, FREGS_S0(sp)		// the records, if there were any, are unlinked
	ld	t1, FREGS_DIRECT(sp)
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	ld	a\n, (FREGS_A0 + 8 * \n)(sp)
	.endr
	addi	sp, sp, CALLER_FRAME		// CFA=sp
	bnez	t1, 1f
	jr	t0
1:	jr	t1				// a direct call: t0 is where it must return to
END_CODE ftrace_caller

// Lets another task run, unless interrupts are off.
FUNC preempt_schedule_notrace
						// CFA=sp RA=ra
	ENTER	16
	csrr	t0, sstatus
	andi	t0, t0, SR_SIE
	beqz	t0, 1f
	lla	t0, need_resched
	sd	zero, 0(t0)
	call	schedule
1:	LEAVE	16
END preempt_schedule_notrace

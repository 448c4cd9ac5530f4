// The function graph tracer, for guests that trace their functions: included after kernel.S, by a guest that has defined
// FGRAPH before that. KERNEL.md, "Rewritten return addresses", has the names and the layout of the ret_stack.
//
// Mainline's order of things: ftrace_caller saves the arguments and calls the tracer, which keeps the return address and puts
// return_to_handler into its place. The traced function returns there; ftrace_return_to_handler calls the tracer again, takes
// the entry off, and gives back what was kept. Neither trampoline has a frame record. The cookie by which a walk finds an entry
// is the address of ra among the saved registers in mainline's form, and the frame pointer in the metadata form.
//
// With DIRECT, an operation can name a trampoline of its own in place of ftrace_caller, from the start or by FREGS_DIRECT.
//
// DESIGN (metadata form only): 0 as in mainline; 3 and 4 are the designs F3 and F4 against the windows of return_to_handler.
#ifndef DESIGN
#define DESIGN		0
#endif

// struct ftrace_regs; only the documented part of it.
#define FREGS_EPC	0
#define FREGS_RA	8
#define FREGS_SP	16
#define FREGS_S0	24
#define FREGS_DIRECT	40			// where a direct call goes, 0 for none
#define FREGS_A0	48
#define FREGS_A1	56
#define FREGS_SIZE	112

// An operation of ftrace: what is called, and for direct calls what takes its place.
#define OPS_FUNC	0
#define OPS_DIRECT	8

// struct ftrace_ret_stack, and the control word above it.
#define RET_RET		0
#define RET_FUNC	8
#define RET_FP		16
#define RET_RETP	24
#define RET_CONTROL	32
#define RET_WORDS	4
#define CONTROL_OFFSET	0x3ff
#define CONTROL_BITMAP	(1 << 10 | 1 << 12)	// one tracer
#define CONTROL_DATA	(2 << 10)

// RETURN_STACK name: the index of the first free word, and 512 words.
.macro RETURN_STACK name
	.pushsection .scratch, "aw"
	.p2align 3
	.globl \name
	.type \name, @object
\name:
	.zero 8 + 4096
	.size \name, 8 + 4096
	.popsection
.endm

RETURN_STACK ret_stack_boot
RETURN_STACK ret_stack_other
WORD preempt_count, 0
WORD tracer_data_words, 0			// how many words the tracer keeps with each call, at most 2

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

OPS graph_ops, ftrace_graph_func

// TRACED name, ops: a function that is traced. Its first two instructions, which a compiler leaves as NOPs, are the patched
// call; the word before them names the operation. t0 is the link register of this call, so ra is still the caller's.
.macro TRACED name, ops=graph_ops
	.text
	.p2align 4
	.quad 0
	.quad \ops
	.globl \name
	.type \name, %function
\name:
	.cfi_startproc
	call	t0, ftrace_caller
.endm

// ENTER size / LEAVE size: a frame with its record, as a compiler makes it; ra and s0 in its highest words.
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

// The running task's ret_stack.
.macro RET_STACK to, scratch
	lla	\to, ret_stack_boot
	lla	\scratch, task_boot
	beq	tp, \scratch, 9f
	lla	\to, ret_stack_other
9:
.endm

// The recursion lock, as far as anybody sees it: no preemption. An interrupt has a lock of its own.
.macro RECURSION_LOCK
	lla	t3, preempt_count
	ld	t4, 0(t3)
	addi	t4, t4, 1
	sd	t4, 0(t3)
.endm

// Where it is given back, the task can be switched out, with no pt_regs on its stack.
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

// From a traced function: t0 is where it goes on, ra its caller's. All arguments are kept. ra is the tracer's address for two
// instructions, and then an address in here, until the end.
CODE ftrace_caller
						// CFA=sp RA=t0; its caller's is ra
#ifdef DIRECT
	ld	t1, -16(t0)			// an operation that is a direct call needs no more
	ld	t1, OPS_DIRECT(t1)
	bnez	t1, 1f
#endif
	addi	sp, sp, -FREGS_SIZE		// CFA=sp+112
	sd	t0, FREGS_EPC(sp)		// RA=[sp]
	sd	s0, FREGS_S0(sp)
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	sd	a\n, (FREGS_A0 + 8 * \n)(sp)
	.endr
	addi	a0, sp, FREGS_SIZE
	sd	a0, FREGS_SP(sp)
	sd	ra, FREGS_RA(sp)		// the caller's RA=[sp+8], which the tracer may replace
	sd	zero, FREGS_DIRECT(sp)
	addi	a0, t0, -8			// the function
	mv	a1, ra
	ld	a2, -16(t0)			// its operation
	mv	a3, sp
	ld	ra, OPS_FUNC(a2)
	jalr	ra
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	ld	a\n, (FREGS_A0 + 8 * \n)(sp)
	.endr
	ld	s0, FREGS_S0(sp)
	ld	t0, FREGS_EPC(sp)		// RA=t0, which the tracer may have replaced
	ld	t1, FREGS_DIRECT(sp)
	ld	ra, FREGS_RA(sp)		// the caller's, or return_to_handler
	addi	sp, sp, FREGS_SIZE		// CFA=sp
	bnez	t1, 1f
	jr	t0
1:	jr	t1				// a direct call: t0 is where it has to return to
END_CODE ftrace_caller

// a0: the function, a1: its caller, a2: the operation, a3: struct ftrace_regs.
FUNC ftrace_graph_func
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	mv	s1, a3
	mv	a1, a0
	ld	a0, FREGS_RA(a3)
	ld	a2, FREGS_S0(a3)
#ifdef METADATA
	mv	a3, a2
#else
	addi	a3, a3, FREGS_RA
#endif
	call	function_graph_enter
	lla	t0, return_to_handler
	sd	t0, FREGS_RA(s1)		// from here on the address is in the ret_stack alone
	ld	s1, 8(sp)
	LEAVE	32
END ftrace_graph_func

// a0: the return address, a1: the function, a2: the frame pointer, a3: the cookie. Puts them on the ret_stack.
FUNC function_graph_enter
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	sd	s2, 0(sp)
	RECURSION_LOCK
	RET_STACK s1, t0
	ld	t0, 0(s1)
	slli	t1, t0, 3
	add	t1, t1, s1
	addi	s2, t1, 8			// the new entry
	li	t2, RET_WORDS
	sd	t2, RET_CONTROL(s2)		// before the index is raised: an interrupt that is traced finds the way back
	sd	a0, RET_RET(s2)
	addi	t0, t0, RET_WORDS + 1
	sd	t0, 0(s1)
	sd	t2, RET_CONTROL(s2)		// again: before, an interrupt could have used these words
	sd	a0, RET_RET(s2)
	sd	a1, RET_FUNC(s2)
	sd	a2, RET_FP(s2)
	sd	a3, RET_RETP(s2)
	mv	a0, a1
	call	graph_entry
	li	t2, CONTROL_BITMAP | RET_WORDS
	sd	t2, RET_CONTROL(s2)
	RECURSION_UNLOCK
	ld	s2, 0(sp)
	ld	s1, 8(sp)
	LEAVE	32
END function_graph_enter

// a0: the traced function. What a tracer does at entry: it may keep some words above the control word, with one more above.
FUNC graph_entry
						// CFA=sp RA=ra
	ENTER	16
	ld	t0, tracer_data_words
	beqz	t0, 1f
	RET_STACK t1, t2
	ld	t2, 0(t1)
	slli	t3, t2, 3
	add	t3, t3, t1
	addi	t3, t3, 8
	slli	t4, t0, 3
	add	t4, t4, t3			// where the control word of the data goes
	addi	t5, t0, RET_WORDS + 1
	li	t6, CONTROL_DATA
	or	t5, t5, t6
	sd	t5, 0(t4)
	add	t2, t2, t0
	addi	t2, t2, 1
	sd	t2, 0(t1)
	sd	t5, 0(t4)			// again, for the same reason
	sd	a0, 0(t3)			// the data: one word is enough to see
1:	LEAVE	16
END graph_entry

// a0: struct ftrace_regs. What a tracer does at return.
FUNC graph_return
						// CFA=sp RA=ra
	ENTER	16
	nop
	LEAVE	16
END graph_return

#if DESIGN == 0
// As in mainline. s0 points above two words where a record would be, but none is: they are the slots of a6 and a7, or what the
// traced function has left there. The last instruction links, and ra is not what it was for the traced function's caller.
CODE return_to_handler
						// CFA=sp RA is in the ret_stack
	addi	sp, sp, -FREGS_SIZE		// CFA=sp+112
	sd	ra, FREGS_RA(sp)
	sd	s0, FREGS_S0(sp)
	sd	a0, FREGS_A0(sp)
	sd	a1, FREGS_A1(sp)
	addi	s0, sp, FREGS_SIZE
	mv	a0, sp
	call	ftrace_return_to_handler
	mv	a2, a0				// RA=a2; since its entry was taken off it was in registers alone
	ld	ra, FREGS_RA(sp)
	ld	s0, FREGS_S0(sp)
	ld	a0, FREGS_A0(sp)
	ld	a1, FREGS_A1(sp)
	addi	sp, sp, FREGS_SIZE		// CFA=sp
	jalr	a2
END_CODE return_to_handler
#elif DESIGN == 3
// The address goes back into ra, and only then is the entry taken off. s0 stays that of the caller, which is the cookie.
CODE return_to_handler
						// CFA=sp RA is in the ret_stack
	addi	sp, sp, -FREGS_SIZE		// CFA=sp+112
	sd	ra, FREGS_RA(sp)
	sd	s0, FREGS_S0(sp)
	sd	a0, FREGS_A0(sp)
	sd	a1, FREGS_A1(sp)
	mv	a0, sp
	call	ftrace_return_to_handler
	mv	ra, a0				// RA=ra, and in the ret_stack
	ld	a0, FREGS_A0(sp)
	ld	a1, FREGS_A1(sp)
	addi	sp, sp, FREGS_SIZE		// CFA=sp
	RET_STACK t0, t1
	ld	t1, 0(t0)
	slli	t2, t1, 3
	add	t2, t2, t0
	ld	t2, 0(t2)			// the control word
	andi	t2, t2, CONTROL_OFFSET
	addi	t2, t2, 1
	sub	t1, t1, t2
	sd	t1, 0(t0)			// RA=ra
	ret
END_CODE return_to_handler
#elif DESIGN == 4
// A frame record with the address is linked, and only then is the entry taken off. s0 stays that of the caller until then.
CODE return_to_handler
						// CFA=sp RA is in the ret_stack
	addi	sp, sp, -FREGS_SIZE		// CFA=sp+112
	sd	ra, FREGS_RA(sp)
	sd	s0, FREGS_S0(sp)
	sd	a0, FREGS_A0(sp)
	sd	a1, FREGS_A1(sp)
	mv	a0, sp
	call	ftrace_return_to_handler
	sd	a0, (FREGS_SIZE - 8)(sp)	// RA=[cfa-8], and in the ret_stack
	sd	s0, (FREGS_SIZE - 16)(sp)
	addi	s0, sp, FREGS_SIZE
	call	ftrace_graph_pop		// RA=[cfa-8]
	ld	ra, (FREGS_SIZE - 8)(sp)	// RA=ra
	ld	s0, FREGS_S0(sp)
	ld	a0, FREGS_A0(sp)
	ld	a1, FREGS_A1(sp)
	addi	sp, sp, FREGS_SIZE		// CFA=sp
	ret
END_CODE return_to_handler
#else
#error no such design
#endif

// a0: struct ftrace_regs. Gives the address that the youngest entry keeps, after the tracer was called. In design 0 it takes
// the entry off.
FUNC ftrace_return_to_handler
						// CFA=sp RA=ra
	ENTER	48
	sd	s1, 24(sp)
	sd	s2, 16(sp)
	sd	s3, 8(sp)
	RET_STACK s1, t0
	ld	t0, 0(s1)
	slli	t1, t0, 3
	add	t1, t1, s1			// the control word
	ld	t2, 0(t1)
	andi	t2, t2, CONTROL_OFFSET
	slli	t3, t2, 3
	sub	t1, t1, t3			// the entry
	addi	t2, t2, 1
	sub	s3, t0, t2			// the index without it
	ld	t2, RET_FP(t1)
	ld	t3, FREGS_S0(a0)
	beq	t2, t3, 1f
	ebreak					// a kernel panics: this is another function's entry
1:	ld	s2, RET_RET(t1)
	sd	s2, FREGS_EPC(a0)
	RECURSION_LOCK
	call	graph_return
	RECURSION_UNLOCK
#if DESIGN == 0
	sd	s3, 0(s1)			// from here on the address is in registers alone
#endif
	mv	a0, s2
	ld	s3, 8(sp)
	ld	s2, 16(sp)
	ld	s1, 24(sp)
	LEAVE	48
END ftrace_return_to_handler

#if DESIGN == 4
// Takes the youngest entry off.
FUNC ftrace_graph_pop
						// CFA=sp RA=ra
	ENTER	16
	RECURSION_LOCK
	RET_STACK t0, t1
	ld	t1, 0(t0)
	slli	t2, t1, 3
	add	t2, t2, t0
	ld	t2, 0(t2)			// the control word
	andi	t2, t2, CONTROL_OFFSET
	addi	t2, t2, 1
	sub	t1, t1, t2
	sd	t1, 0(t0)
	RECURSION_UNLOCK
	LEAVE	16
END ftrace_graph_pop
#endif

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

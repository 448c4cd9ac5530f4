// The function graph tracer: included after kernel.S, by a guest that has defined FGRAPH before that. KERNEL.md, "Hooked
// return addresses", has the names and the layout of the ret_stack.
//
// Mainline's order of events: ftrace_caller calls the tracer, which keeps the return address and replaces it by
// return_to_handler. The traced function returns there; ftrace_return_to_handler calls the tracer again, pops the entry,
// and returns the original address. The trampoline has no frame record. The cookie by which a walk finds an entry is the
// address of ra among the saved registers in mainline's form, and the frame pointer in the metadata form.
//
// FGRAPH_DATA is how many words a second tracer keeps with each call; without it there is none. With EXIT_TRACED a tracer
// calls a traced function at each return, the guest's traced_by_tracer.
//
// DESIGN (metadata form only): 0 as in mainline; 3, 4 and 5 are the fixes F3 to F5 for the windows of return_to_handler.
#include "kernel_ftrace.S"

#ifndef DESIGN
#define DESIGN		0
#endif

// struct ftrace_ret_stack, and the control word above it.
#define RET_RET		0
#define RET_FUNC	8
#define RET_FP		16
#define RET_RETP	24
#define RET_CONTROL	32
#define RET_WORDS	4
#define CONTROL_OFFSET	0x3ff
#ifdef FGRAPH_DATA
#define CONTROL_BITMAP	(1 << 10 | 3 << 12)	// both tracers
#else
#define CONTROL_BITMAP	(1 << 10 | 1 << 12)	// one tracer
#endif
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
OPS graph_ops, ftrace_graph_func

// DROP_ENTRY index, ret_stack: the index without the youngest entry.
.macro DROP_ENTRY index, ret_stack, scratch
	slli	\scratch, \index, 3
	add	\scratch, \scratch, \ret_stack
	ld	\scratch, 0(\scratch)		// the control word
	andi	\scratch, \scratch, CONTROL_OFFSET
	addi	\scratch, \scratch, 1
	sub	\index, \index, \scratch
.endm

// The running task's ret_stack.
.macro RET_STACK to, scratch
	lla	\to, ret_stack_boot
	lla	\scratch, task_boot
	beq	tp, \scratch, 9f
	lla	\to, ret_stack_other
9:
.endm

// a0: the function, a1: its caller, a2: the operation, a3: struct ftrace_regs.
FUNC ftrace_graph_func
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
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
	bnez	a0, 1f
	lla	t0, return_to_handler
	sd	t0, FREGS_RA(s1)		// from here on the address is only on the ret_stack
1:	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END ftrace_graph_func

// a0: the return address, a1: the function, a2: the frame pointer, a3: the cookie. Pushes them on the ret_stack and returns
// 0; if the tracer itself has called the function, it does neither.
FUNC function_graph_enter
						// CFA=sp RA=ra
	ENTER	48
	sd	s1, 24(sp)
	.cfi_offset s1, -24
	sd	s2, 16(sp)
	.cfi_offset s2, -32
	sd	s3, 8(sp)
	.cfi_offset s3, -40
	RECURSION_TRYLOCK s3, 1f
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
	sd	t2, RET_CONTROL(s2)		// again: an interrupt could have used these words before
	sd	a0, RET_RET(s2)
	sd	a1, RET_FUNC(s2)
	sd	a2, RET_FP(s2)
	sd	a3, RET_RETP(s2)
	mv	a0, a1
	call	graph_entry
#ifdef FGRAPH_DATA
	mv	a0, s1
	call	graph_entry_data
#endif
	li	t2, CONTROL_BITMAP | RET_WORDS
	sd	t2, RET_CONTROL(s2)
	RECURSION_RELEASE s3
	li	a0, 0
	j	2f
1:	li	a0, -16
2:	ld	s3, 8(sp)
	.cfi_restore s3
	ld	s2, 16(sp)
	.cfi_restore s2
	ld	s1, 24(sp)
	.cfi_restore s1
	LEAVE	48
END function_graph_enter

// a0: the traced function. What a tracer does at entry.
FUNC graph_entry
						// CFA=sp RA=ra
	ENTER	16
	nop
	LEAVE	16
END graph_entry

#ifdef FGRAPH_DATA
// a0: the ret_stack. What a tracer with data of its own does: its words lie above the entry's control word, with one more
// control word above.
FUNC graph_entry_data
						// CFA=sp RA=ra
	ENTER	16
	ld	t0, 0(a0)
	slli	t1, t0, 3
	add	t1, t1, a0
	li	t2, CONTROL_DATA | (FGRAPH_DATA + RET_WORDS + 1)
	sd	t2, (8 * FGRAPH_DATA + 8)(t1)
	addi	t0, t0, FGRAPH_DATA + 1
	sd	t0, 0(a0)
	sd	t2, (8 * FGRAPH_DATA + 8)(t1)	// again, for the same reason
	lla	t2, graph_entry_data
	sd	t2, 8(t1)			// the data: an address, as an entry's first word is
	LEAVE	16
END graph_entry_data
#endif

// a0: struct ftrace_regs. What a tracer does at return.
FUNC graph_return
						// CFA=sp RA=ra
	ENTER	16
#ifdef EXIT_TRACED
	call	traced_by_tracer
#else
	nop
#endif
	LEAVE	16
END graph_return

// Where traced functions return to. With DESIGN 0, as in mainline, s0 points above two words where a record would be, but
// there is none: they are the slots of a6 and a7, or what the traced function has left there; and the last instruction
// links, so that ra is not what it was for the traced function's caller. In the other fixes s0 keeps the caller's value,
// which is the cookie; in 3 the address goes back to ra, in 4 and 5 to a record that is linked, and only then is the entry
// popped.
#if DESIGN == 5
#define TYPE_PENDING	3
#define RECORD		FREGS_SIZE			// {0, 0, type, s0, address}
#define RETURN_FRAME	(FREGS_SIZE + 48)
#else
#define RECORD		(FREGS_SIZE - 16)		// {s0, address}, in slots that are not used
#define RETURN_FRAME	FREGS_SIZE
#endif

CODE return_to_handler
						// CFA=sp RA is on the ret_stack
	addi	sp, sp, -RETURN_FRAME		// CFA=sp+RETURN_FRAME
	sd	ra, FREGS_RA(sp)
	sd	s0, FREGS_S0(sp)
	sd	a0, FREGS_A0(sp)
	sd	a1, FREGS_A1(sp)
#if DESIGN == 0
	addi	s0, sp, FREGS_SIZE
#endif
	mv	a0, sp
	call	ftrace_return_to_handler
#if DESIGN == 0
	mv	a2, a0				// RA=a2; since its entry was popped it was only in registers
	ld	ra, FREGS_RA(sp)
	ld	s0, FREGS_S0(sp)
#elif DESIGN == 3
	mv	ra, a0				// RA=ra, and on the ret_stack
#elif DESIGN == 4
	sd	a0, (RECORD + 8)(sp)		// RA=[cfa-8], and on the ret_stack
	sd	s0, RECORD(sp)
	addi	s0, sp, RECORD + 16
	call	ftrace_graph_pop		// RA=[cfa-8]
	ld	ra, (RECORD + 8)(sp)		// RA=ra
	ld	s0, FREGS_S0(sp)
#elif DESIGN == 5
	sd	zero, RECORD(sp)
	sd	zero, (RECORD + 8)(sp)
	li	t0, TYPE_PENDING
	sd	t0, (RECORD + 16)(sp)
	sd	s0, (RECORD + 24)(sp)
	sd	a0, (RECORD + 32)(sp)		// RA=[cfa-16], and on the ret_stack
	addi	s0, sp, RECORD + 16		// above the zeros, as above any record
	call	ftrace_graph_pop		// RA=[cfa-16]
	ld	ra, (RECORD + 32)(sp)		// RA=ra
	ld	s0, FREGS_S0(sp)
#else
#error no such design
#endif
	ld	a0, FREGS_A0(sp)
	ld	a1, FREGS_A1(sp)
	addi	sp, sp, RETURN_FRAME		// CFA=sp
#if DESIGN == 0
	jalr	a2
#elif DESIGN == 3
	RET_STACK t0, t1
	ld	t1, 0(t0)
	DROP_ENTRY t1, t0, t2
	sd	t1, 0(t0)			// RA=ra
	ret
#else
	ret
#endif
END_CODE return_to_handler

// a0: struct ftrace_regs. Returns the address that the youngest entry keeps, after calling the tracer. With DESIGN 0 it
// pops the entry.
FUNC ftrace_return_to_handler
						// CFA=sp RA=ra
	ENTER	48
	sd	s1, 24(sp)
	.cfi_offset s1, -24
	sd	s2, 16(sp)
	.cfi_offset s2, -32
	sd	s3, 8(sp)
	.cfi_offset s3, -40
	sd	s4, 0(sp)
	.cfi_offset s4, -48
	RET_STACK s1, t0
	ld	s3, 0(s1)
	DROP_ENTRY s3, s1, t0			// the index without it
	slli	t1, s3, 3
	add	t1, t1, s1
	addi	t1, t1, 8			// the entry
	ld	t2, RET_FP(t1)
	ld	t3, FREGS_S0(a0)
	beq	t2, t3, 1f
	ebreak					// a kernel panics: this is another function's entry
1:	ld	s2, RET_RET(t1)
	sd	s2, FREGS_EPC(a0)
	RECURSION_TRYLOCK s4, 2f
	call	graph_return
#ifdef FGRAPH_DATA
	call	graph_return			// the second tracer's
#endif
	RECURSION_RELEASE s4
2:
#if DESIGN == 0
	sd	s3, 0(s1)			// from here on the address is only in registers
#endif
	mv	a0, s2
	ld	s4, 0(sp)
	.cfi_restore s4
	ld	s3, 8(sp)
	.cfi_restore s3
	ld	s2, 16(sp)
	.cfi_restore s2
	ld	s1, 24(sp)
	.cfi_restore s1
	LEAVE	48
END ftrace_return_to_handler

#if DESIGN >= 4
// Pops the youngest entry.
FUNC ftrace_graph_pop
						// CFA=sp RA=ra
	ENTER	16
	RECURSION_LOCK
	RET_STACK t0, t1
	ld	t1, 0(t0)
	DROP_ENTRY t1, t0, t2
	sd	t1, 0(t0)
	RECURSION_UNLOCK
	LEAVE	16
END ftrace_graph_pop
#endif


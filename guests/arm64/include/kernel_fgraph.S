// The function graph tracer of the small kernel (guests/KERNEL.md, "Hooked return addresses"). A guest defines
// PREEMPT_COUNT, includes kernel.S, and then this file. DESIGN is the fix: 0, 2, 3, 4 or 5 (1 is the code of 0). With
// FGRAPH_DATA a second tracer keeps data words on the ret_stack. With FGRAPH_RESCHED the callbacks request a reschedule, so
// that the task is switched out at the next point that allows it, without an exception. With UNDEFINED_RA, the unwind data
// give return_to_handler no return address, and say nothing else. With FGRAPH_EXIT_CALL, a function of the guest, exit
// callbacks call it.

#ifndef DESIGN
#define DESIGN	0
#endif

// What ftrace_caller and return_to_handler save: x0..x8, then what follows.
#define FREGS_X8	64
#define FREGS_DIRECT	72
#define FREGS_FP	80
#define FREGS_LR	88
#define FREGS_SP	96
#define FREGS_PC	104
#define FREGS_SIZE	112

// An entry of a ret_stack, in bytes; then its control word.
#define ENTRY_FUNC	8
#define ENTRY_FP	16
#define ENTRY_CONTROL	32
#define CONTROL_RESERVED	4			// the structure begins 4 words further down
#define CONTROL_BITMAP	(4 | 1 << 10)
#define CONTROL_DATA	(6 | 2 << 10)			// after a bitmap and one data word

// struct ftrace_ops.
#define OPS_FUNC	0
#define OPS_DIRECT	8

WORD ret_stack_boot, 4104
WORD ret_stack_other, 4104
WORD trace_recursion					// bit 0: a tracer runs in task context; bit 1: in an interrupt
WORD trace_calls
WORD trace_returns

	.data
	.p2align 3
graph_ops:
	.quad ftrace_graph_func, 0

// TRACED name, ops ... END name: a function with a patched call of the tracer. The word before it is its ops.
.macro TRACED name, ops=graph_ops
	.text
	.p2align 4
	nop
	nop
	.quad \ops
FUNC \name
							// CFA=sp RA=x30
	mov	x9, x30
	bl	ftrace_caller				// x30 may be the trampoline's address from here on
.endm

// Called by traced functions. x9: their return address; x30: the address after the call. No unwind data: along records, the
// traced function's caller can be found from +0x4c to +0x80.
CODE ftrace_caller
	bti	c
	bic	x11, x30, #7
	ldr	x11, [x11, #-16]			// op
	ldr	x17, [x11, #OPS_DIRECT]
	cbnz	x17, ftrace_caller_direct
	mov	x10, sp
	sub	sp, sp, #FREGS_SIZE + 32		// fregs and two records
	stp	x0, x1, [sp, #0]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	str	x8, [sp, #FREGS_X8]
	str	xzr, [sp, #FREGS_DIRECT]
	str	x29, [sp, #FREGS_FP]
	str	x9, [sp, #FREGS_LR]
	str	x10, [sp, #FREGS_SP]
	str	x30, [sp, #FREGS_PC]
	stp	x29, x9, [sp, #FREGS_SIZE + 16]		// record A: the traced function's caller; the tracer never replaces it
	add	x29, sp, #FREGS_SIZE + 16
	stp	x29, x30, [sp, #FREGS_SIZE]		// record B: the traced function
	add	x29, sp, #FREGS_SIZE
	sub	x0, x30, #4				// the patched call
	mov	x1, x9
	mov	x2, x11
	mov	x3, sp
	ldr	x4, [x2, #OPS_FUNC]
	blr	x4
	ldp	x0, x1, [sp, #0]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldr	x8, [sp, #FREGS_X8]
	ldr	x29, [sp, #FREGS_FP]			// the records are unlinked
	ldr	x17, [sp, #FREGS_DIRECT]
	cbnz	x17, ftrace_caller_direct_late
	ldr	x30, [sp, #FREGS_LR]			// perhaps the trampoline's address
	ldr	x9, [sp, #FREGS_PC]			// perhaps another function
	add	sp, sp, #FREGS_SIZE + 32
	ret	x9
ftrace_caller_direct_late:				// after other tracers
	ldr	x9, [sp, #FREGS_LR]
	ldr	x30, [sp, #FREGS_PC]
	add	sp, sp, #FREGS_SIZE + 32
ftrace_caller_direct:					// x9: the traced function's return address; x30: after its call
	br	x17
END_CODE ftrace_caller

// Takes the lock against tracing the tracer for the present context: \bit, which belongs to the caller. Goes to \busy if
// the lock is held. Interrupts leave the words as they were.
.macro RECURSION_TRYLOCK bit, busy
	mrs	x9, sp_el0
	ldr	x9, [x9, #TASK_LOW]
	mov	x10, sp
	eor	x9, x9, x10
	lsr	x9, x9, #STACK_SHIFT
	cmp	x9, #0
	mov	\bit, #1
	cinc	\bit, \bit, ne				// 2 on the IRQ stack
	adr	x9, trace_recursion
	ldr	x10, [x9]
	tst	x10, \bit
	b.ne	\busy
	orr	x10, x10, \bit
	str	x10, [x9]
	adr	x9, preempt_count
	ldr	x10, [x9]
	add	x10, x10, #1
	str	x10, [x9]
.endm

// Releases it: first preemption, so that the task can be switched out here while it still holds the bit.
.macro RECURSION_UNLOCK bit
	adr	x9, preempt_count
	ldr	x10, [x9]
	sub	x10, x10, #1
	str	x10, [x9]
	cbnz	x10, 9f
	adr	x9, need_resched
	ldr	x9, [x9]
	cbz	x9, 9f
	bl	preempt_schedule_notrace
9:	adr	x9, trace_recursion
	ldr	x10, [x9]
	bic	x10, x10, \bit
	str	x10, [x9]
.endm

// The address of the running task's ret_stack.
.macro RET_STACK to
	mrs	x9, sp_el0
	adr	x10, task_boot
	adr	x11, ret_stack_other
	adr	\to, ret_stack_boot
	cmp	x9, x10
	csel	\to, \to, x11, eq
.endm

// Called by code that has just enabled preemption again; does nothing if interrupts are masked. No pt_regs is on the stack.
FUNC preempt_schedule_notrace
							// CFA=sp RA=x30
	ENTER
	mrs	x9, daif
	tbnz	x9, #7, 1f
	adr	x9, need_resched
	str	xzr, [x9]
	bl	schedule
1:	LEAVE
END preempt_schedule_notrace

// x0: the patched call, x1: the traced function's return address, x2: ops, x3: fregs. Replaces the return address in fregs
// by the trampoline's.
FUNC ftrace_graph_func
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x3
	mov	x1, x0
	ldr	x0, [x3, #FREGS_LR]
	ldr	x2, [x3, #FREGS_FP]
	mov	x3, x2					// arm64: the cookie is the frame pointer
	bl	function_graph_enter
	cbnz	x0, 1f
	adr	x0, return_to_handler
	str	x0, [x19, #FREGS_LR]
1:	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END ftrace_graph_func

// x0: return address, x1: function, x2: frame pointer, x3: cookie. Returns 0 if the return is to be traced.
FUNC function_graph_enter
							// CFA=sp RA=x30
	ENTER	80
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -64; .cfi_offset x20, -56
	stp	x21, x22, [sp, #32]
	.cfi_offset x21, -48; .cfi_offset x22, -40
	stp	x23, x24, [sp, #48]
	.cfi_offset x23, -32; .cfi_offset x24, -24
	str	x25, [sp, #64]
	.cfi_offset x25, -16
	mov	x19, x0
	mov	x20, x1
	mov	x21, x2
	mov	x22, x3
	mov	x0, #-16
	RECURSION_TRYLOCK x23, 1f
	RET_STACK x24
	ldr	x9, [x24]
	add	x25, x24, #8
	add	x25, x25, x9, lsl #3			// the entry
	mov	x10, #CONTROL_RESERVED
	str	x10, [x25, #ENTRY_CONTROL]
	str	x19, [x25]
	add	x9, x9, #5
	str	x9, [x24]				// interrupts may clobber it until here, and push above it after
	str	x10, [x25, #ENTRY_CONTROL]
	stp	x19, x20, [x25]
	stp	x21, x22, [x25, #ENTRY_FP]
	mov	x0, x20
	bl	trace_entry
#ifdef FGRAPH_DATA
	mov	x0, x24
	bl	trace_entry_data
	mov	x10, #CONTROL_BITMAP
	orr	x10, x10, #3 << 12			// both tracers want the return
#else
	mov	x10, #CONTROL_BITMAP
	orr	x10, x10, #1 << 12
#endif
	str	x10, [x25, #ENTRY_CONTROL]
	RECURSION_UNLOCK x23
	mov	x0, xzr
1:	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	ldp	x21, x22, [sp, #32]
	.cfi_restore x21; .cfi_restore x22
	ldp	x23, x24, [sp, #48]
	.cfi_restore x23; .cfi_restore x24
	ldr	x25, [sp, #64]
	.cfi_restore x25
	LEAVE	80
END function_graph_enter

// Counts in the word that x9 points at; with FGRAPH_RESCHED, requests a reschedule.
.macro COUNT word
	adr	x9, \word
	ldr	x10, [x9]
	add	x10, x10, #1
	str	x10, [x9]
#ifdef FGRAPH_RESCHED
	adr	x9, need_resched
	str	x10, [x9]
#endif
.endm

// The entry callback of a tracer.
FUNC trace_entry
							// CFA=sp RA=x30
	ENTER
	COUNT	trace_calls
	LEAVE
END trace_entry

// The exit callback of a tracer. x0: the entry.
FUNC trace_return
							// CFA=sp RA=x30
	ENTER
	COUNT	trace_returns
#ifdef FGRAPH_EXIT_CALL
	bl	FGRAPH_EXIT_CALL
#endif
	LEAVE
END trace_return

#ifdef FGRAPH_DATA
// The entry callback of a tracer that keeps a data word. x0: the ret_stack. The word looks like an entry's address.
FUNC trace_entry_data
							// CFA=sp RA=x30
	ldr	x9, [x0]
	add	x10, x0, #8
	add	x10, x10, x9, lsl #3
	mov	x11, #CONTROL_DATA
	str	x11, [x10, #8]
	add	x9, x9, #2
	str	x9, [x0]
	str	x11, [x10, #8]
	adr	x11, trace_entry_data
	str	x11, [x10]
	ret
END trace_entry_data
#endif

// x0: fregs. Returns the address to which the traced function was to return. Fixes 0 to 2 pop the entry; fix 3 returns the
// address of the index in x1 and leaves its new value in fregs.x8, from where the trampoline stores it; 4 and 5 have the
// entry popped by ftrace_graph_pop.
FUNC ftrace_return_to_handler
							// CFA=sp RA=x30
	ENTER	64
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -48; .cfi_offset x20, -40
	stp	x21, x22, [sp, #32]
	.cfi_offset x21, -32; .cfi_offset x22, -24
	stp	x23, x24, [sp, #48]
	.cfi_offset x23, -16; .cfi_offset x24, -8
	mov	x19, x0
	RET_STACK x20
	ldr	x21, [x20]
	sub	x21, x21, #1
	add	x22, x20, #8
	ldr	x9, [x22, x21, lsl #3]			// the control word
	and	x9, x9, #0x3ff
	sub	x21, x21, x9				// the index without the entry
	add	x22, x22, x21, lsl #3			// the entry
	ldr	x9, [x22, #ENTRY_FP]
	ldr	x10, [x19, #FREGS_FP]
	cmp	x9, x10
	b.ne	3f
	ldr	x23, [x22]				// the address that the trampoline stands for
	str	x23, [x19, #FREGS_PC]
	RECURSION_TRYLOCK x24, 2f
	mov	x0, x22
	bl	trace_return
#ifdef FGRAPH_DATA
	mov	x0, x22
	bl	trace_return				// the second tracer's
#endif
	RECURSION_UNLOCK x24
2:
#if DESIGN <= 2
	str	x21, [x20]				// from here on the address is only in x23, then in x0
#elif DESIGN == 3
	str	x21, [x19, #FREGS_X8]
	mov	x1, x20
#endif
	mov	x0, x23
	.cfi_remember_state
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	ldp	x21, x22, [sp, #32]
	.cfi_restore x21; .cfi_restore x22
	ldp	x23, x24, [sp, #48]
	.cfi_restore x23; .cfi_restore x24
	LEAVE	64
3:							// CFA=x29+64
	.cfi_restore_state; .cfi_def_cfa x29, 64
	b	.					// a function has returned twice, or never
END ftrace_return_to_handler

#if DESIGN >= 4
// Pops the entry.
FUNC ftrace_graph_pop
							// CFA=sp RA=x30
	ENTER
	RET_STACK x0
	ldr	x1, [x0]
	sub	x1, x1, #1
	add	x2, x0, #8
	ldr	x3, [x2, x1, lsl #3]
	and	x3, x3, #0x3ff
	sub	x1, x1, x3
	str	x1, [x0]
	LEAVE
END ftrace_graph_pop
#endif

// The space that the record of fixes 4 and 5 takes above fregs.
#if DESIGN == 4
#define RECORD_ROOM	16
#elif DESIGN == 5
#define RECORD_ROOM	48
#define TYPE_PENDING	3
#else
#define RECORD_ROOM	0
#endif

// Where traced functions return to: SP and all registers but x30 are as after the call. The address is the newest on the
// ret_stack.
CODE return_to_handler
#ifdef UNDEFINED_RA
	.cfi_startproc
	.cfi_undefined x30
#endif
	sub	sp, sp, #FREGS_SIZE + RECORD_ROOM
	stp	x0, x1, [sp, #0]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	str	x29, [sp, #FREGS_FP]
	mov	x0, sp
	bl	ftrace_return_to_handler
#if DESIGN == 0
	mov	x30, x0
#elif DESIGN <= 3
	mov	x30, x0
	.cfi_startproc					// CFA=sp+112 RA=x30
	.cfi_def_cfa_offset FREGS_SIZE
#endif
#if DESIGN == 3
	ldr	x2, [sp, #FREGS_X8]
	str	x2, [x1]				// the entry is popped
#endif
#if DESIGN == 4
	stp	x29, x0, [sp, #FREGS_SIZE]
	.cfi_startproc					// CFA=sp+128 RA=[cfa-8]
	.cfi_def_cfa_offset FREGS_SIZE + RECORD_ROOM
	.cfi_offset x30, -8
	add	x29, sp, #FREGS_SIZE
	.cfi_offset x29, -16
	bl	ftrace_graph_pop			// the entry is popped
	ldp	x29, x30, [sp, #FREGS_SIZE]		// RA=x30
	.cfi_restore x29; .cfi_restore x30
#elif DESIGN == 5
	stp	xzr, xzr, [sp, #FREGS_SIZE]
	mov	x1, #TYPE_PENDING
	str	x1, [sp, #FREGS_SIZE + 16]
	stp	x29, x0, [sp, #FREGS_SIZE + 24]
	.cfi_startproc					// CFA=sp+160 RA=[cfa-16]
	.cfi_def_cfa_offset FREGS_SIZE + RECORD_ROOM
	.cfi_offset x30, -16
	add	x29, sp, #FREGS_SIZE			// x29 points at a metadata record
	.cfi_offset x29, -24
	bl	ftrace_graph_pop			// the entry is popped
	ldp	x29, x30, [sp, #FREGS_SIZE + 24]	// RA=x30
	.cfi_restore x29; .cfi_restore x30
#endif
	ldp	x0, x1, [sp, #0]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	add	sp, sp, #FREGS_SIZE + RECORD_ROOM	// CFA=sp
#if DESIGN >= 2
	.cfi_def_cfa_offset 0
#endif
	ret
#if DESIGN >= 2 || defined(UNDEFINED_RA)
	.cfi_endproc
#endif
END_CODE return_to_handler

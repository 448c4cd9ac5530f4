//@ start none
// Direct calls of a trampoline as BPF programs have them: at once, and after another tracer has requested one. The
// trampolines have no unwind data; the one that calls a program has two records, as ftrace_caller has.
#define PREEMPT_COUNT
#include "kernel.S"
#include "kernel_fgraph.S"

	.data
	.p2align 3
direct_ops:
	.quad 0, direct_tramp
late_ops:
	.quad late_func, 0

// x9: the traced function's return address; x30: the address after its call.
CODE direct_tramp
	stp	x29, x9, [sp, #-16]!			// a record for the traced function's caller
	mov	x29, sp
	stp	x29, x30, [sp, #-16]!			// and one for the traced function
	mov	x29, sp
	sub	sp, sp, #16
	str	x0, [sp]
	bl	direct_prog
	ldr	x0, [sp]
	mov	sp, x29
	ldp	x29, x30, [sp], #16
	ldp	x29, x9, [sp], #16			// the records are unlinked
	mov	x10, x30
	mov	x30, x9
	ret	x10
END_CODE direct_tramp

// Does nothing but continue in the traced function.
CODE ftrace_stub_direct_tramp
	mov	x10, x30
	mov	x30, x9
	ret	x10
END_CODE ftrace_stub_direct_tramp

FUNC direct_prog
							// CFA=sp RA=x30
	ENTER
	COUNT	trace_calls
	LEAVE
END direct_prog

// A tracer that requests a direct call. x3: fregs.
FUNC late_func
							// CFA=sp RA=x30
	adr	x9, ftrace_stub_direct_tramp
	str	x9, [x3, #FREGS_DIRECT]
	ret
END late_func

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	bl	traced_direct
	bl	traced_late
	LEAVE
END parent

TRACED traced_direct, direct_ops
	eor	x0, x0, #7
	ret
END traced_direct

TRACED traced_late, late_ops
	eor	x0, x0, #3
	ret
END traced_late

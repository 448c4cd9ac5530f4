//@ start none
// Live patching: a tracer's callback stores another function's address where ftrace_caller will continue. From then on the
// stack names the old function, but the new one will run. Then the callback enables preemption again, and can be switched
// out.
#define PREEMPT_COUNT
#include "kernel.S"
#include "kernel_fgraph.S"

WORD __redirect_from
WORD __redirect_to

	.data
	.p2align 3
klp_ops:
	.quad klp_ftrace_handler, 0

// x0: the patched call, x1: the traced function's return address, x2: ops, x3: fregs.
FUNC klp_ftrace_handler
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	RECURSION_TRYLOCK x19, 1f
	adr	x9, need_resched			// requests a reschedule
	str	x9, [x9]
	ldr	x9, [x3, #FREGS_PC]			// for the harness: see guests/KERNEL.md
	adr	x10, __redirect_from
	str	x9, [x10]
	adr	x9, new_function
	adr	x10, __redirect_to
	str	x9, [x10]
	str	x9, [x3, #FREGS_PC]			// the function in which ftrace_caller continues
redirect_old_function:
	RECURSION_UNLOCK x19
1:	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END klp_ftrace_handler

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	bl	old_function
	LEAVE
END parent

TRACED old_function, klp_ops
	mov	x0, #2					// never runs again
	ret
END old_function

FUNC new_function
							// CFA=sp RA=x30
	nop						// where its own call of a tracer would be
	nop
	ENTER
	bl	new_leaf
	LEAVE
END new_function

FUNC new_leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END new_leaf

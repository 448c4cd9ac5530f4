//@ start none
// Live patching: a tracer's callback puts another function's address where ftrace_caller will go on. From then on the stack
// names the old function, but the new one will run. Then the callback enables preemption again, and can be switched out.
#define PREEMPT_COUNT
#include "kernel.S"
#include "kernel_fgraph.S"

WORD __redirect_from
WORD __redirect_to

	.data
	.p2align 3
klp_ops:
	.quad klp_ftrace_handler, 0

// x0: the patched call, x1: the return address of the traced function, x2: ops, x3: fregs.
FUNC klp_ftrace_handler
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	RECURSION_TRYLOCK x19, 1f
	adr	x9, need_resched			// somebody else shall run
	str	x9, [x9]
	ldr	x9, [x3, #FREGS_PC]			// what the harness is told
	adr	x10, __redirect_from
	str	x9, [x10]
	adr	x9, new_function
	adr	x10, __redirect_to
	str	x9, [x10]
	str	x9, [x3, #FREGS_PC]			// the function that ftrace_caller goes to
redirect_old_function:
	RECURSION_UNLOCK x19
1:	ldr	x19, [sp, #16]
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x19; .cfi_restore x29; .cfi_restore x30
	ret
END klp_ftrace_handler

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	parent
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC parent
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #1
	bl	old_function
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END parent

TRACED old_function, klp_ops
	mov	x0, #2					// never again
	ret
END old_function

FUNC new_function
							// CFA=sp RA=x30
	nop						// where its own call of a tracer would be
	nop
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	new_leaf
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END new_function

FUNC new_leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END new_leaf

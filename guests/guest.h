// Macros of the guests in assembly, for every CPU. See guests/README.md for the conventions.

// FUNC name ... END name: a global function with its symbol's size.
.macro FUNC name
	.text
	.p2align 4
	.globl \name
	.type \name, %function
\name:
.endm

.macro END name
	.size \name, . - \name
.endm

// STACK name, size: declares a stack. The two words hold its bounds; the harness writes them before the guest starts.
// `size` is a power of two; the harness aligns the stack to twice its size, as kernels with VMAP_STACK do.
.macro STACK name, size
	.pushsection .data
	.p2align 3
	.globl __stack_\name\()_low
	.globl __stack_\name\()_high
__stack_\name\()_low:
	.quad 0
	.size __stack_\name\()_low, 8
__stack_\name\()_high:
	.quad \size
	.size __stack_\name\()_high, 8
	.popsection
.endm

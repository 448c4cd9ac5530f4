// Macros for guests in assembly, for every CPU. See guests/README.md for the conventions.

// Unwind data is not loaded: the harness reads it from the file, and the guest's layout does not depend on it. Built as a program of
// user space (`cargo xtask conformance`), it is loaded, too.
#ifdef LOADED_CFI
	.cfi_sections .eh_frame, .debug_frame
#else
	.cfi_sections .debug_frame
#endif

// CODE name ... END_CODE name: global code with a sized symbol, but without unwind data: assembly that enters and leaves
// exceptions, starts tasks and switches stacks.
.macro CODE name
	.text
	.p2align 4
	.globl \name
	.type \name, %function
\name:
.endm

.macro END_CODE name
	.size \name, . - \name
.endm

// FUNC name ... END name: the same with unwind data, as a compiler gives every function and an annotation gives
// hand-written ones. Each change of CFA, RA and FP needs its directive.
.macro FUNC name
	CODE \name
	.cfi_startproc
.endm

.macro END name
	.cfi_endproc
	END_CODE \name
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

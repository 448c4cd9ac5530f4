//@ start none
// Kretprobes: the trampoline in place of a return address is a breakpoint instruction. Its handler puts the real address
// into pt_regs first, then runs what was asked for, and takes the instance off the list last. (The instance is put on the
// list by a tracer's callback here; in Linux, by a breakpoint at the function's entry.)
#define PREEMPT_COUNT
#define BRK_HANDLER	kretprobe_brk_handler
#include "kernel.S"
#include "kernel_fgraph.S"

#include "kernel_kretprobe.S"

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
	bl	probed
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END parent

TRACED probed, kprobe_ops
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8], the trampoline's address
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	probed_leaf
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END probed

TRACED probed_leaf, kprobe_ops
	eor	x0, x0, #7
	ret
END probed_leaf

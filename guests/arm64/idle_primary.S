//@ start none
// The boot task as the idle task of the first CPU: nothing entered the kernel on its behalf, and still its walk ends at an
// outermost record, which boot code put at the end of its stack.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #3
1:	bl	do_idle
	subs	x19, x19, #1
	b.ne	1b
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

#include "kernel_idle.S"

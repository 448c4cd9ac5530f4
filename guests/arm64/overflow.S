//@ start none
// The end of the task stack: `recurse` calls itself as long as another frame fits. At the deepest call pt_regs no longer
// fits; any exception taken there uses the overflow stack, is walked from there back into the task stack, and ends the run.
// Nothing is lost where pt_regs still fits: one frame higher there is room for it and for a handler, but not for a nested
// one.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #1
	bl	recurse
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// 256 bytes for each call. In the deepest one 176 bytes are left (160 if boot started 16 bytes lower).
FUNC recurse
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-256]!			// CFA=sp+256 RA=[cfa-248]
	.cfi_def_cfa_offset 256; .cfi_offset x29, -256; .cfi_offset x30, -248
	mov	x29, sp					// CFA=x29+256
	.cfi_def_cfa x29, 256
	str	x19, [sp, #16]
	.cfi_offset x19, -240
	mov	x19, x0
	adr	x9, __stack_task_low
	ldr	x9, [x9]
	sub	x9, x29, x9
	cmp	x9, #256
	b.lo	1f
	add	x0, x0, #1
	bl	recurse
1:	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #256			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END recurse

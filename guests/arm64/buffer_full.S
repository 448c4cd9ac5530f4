//@ start none
// Chains of records that fit live patching's buffer and chains that do not: the task sleeps below 80 calls, and below 110.
// A walk that stops because the buffer is full must not pass for one that has reached the end.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #80
	bl	recurse
	mov	x0, #110
	bl	recurse
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// x0: how many calls deep.
FUNC recurse
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	subs	x0, x0, #1
	b.eq	1f
	bl	recurse
	b	2f
1:	bl	schedule				// sleeps here
2:	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END recurse

//@ start none
//@ build museum_record_below_sp-defective: -DDEFECTIVE
//@ build museum_record_below_sp-fixed:
// Frames as Go's on arm64: x30 at [sp], the caller's x29 one word below sp, and x29 = sp - 8. In the defective build the epilogue
// of a leaf raises sp before it reloads x29, so that for one instruction x29 points at a record far below sp. The word right below
// sp is Go's own: its signal handlers run on stacks of their own, and a call that they inject leaves that word alone.
#include "kernel.S"

FUNC guest_main
	ENTER
	mov	x0, #1
	bl	caller
	LEAVE
END guest_main

FUNC caller
	ENTER
	bl	golang
	add	x0, x0, #1
	LEAVE
END caller

FUNC golang
						// CFA=sp RA=x30
	str	x30, [sp, #-48]!
	.cfi_def_cfa_offset 48; .cfi_offset x30, -48
	stur	x29, [sp, #-8]
	.cfi_offset x29, -56
	sub	x29, sp, #8
	mov	x1, #3
	str	x1, [sp, #16]
	ldr	x0, [sp, #16]
#ifdef DEFECTIVE
	add	sp, sp, #48
	.cfi_def_cfa_offset 0; .cfi_restore x30
	ldur	x29, [sp, #-56]
	.cfi_restore x29
#else
	ldur	x29, [sp, #-8]
	.cfi_restore x29
	add	sp, sp, #48
	.cfi_def_cfa_offset 0; .cfi_restore x30
#endif
	ret
END golang

//@ build museum_fiber-defective: -DDEFECTIVE
//@ build museum_fiber-fixed:
// A fiber: it begins in a function that is entered by a return, on a stack of its own, with the registers of a context block. The
// block's word for x29 was never written (defective), so that the chain of frame records does not end where the fiber began.
// boostorg/context #339.
#include "guest.h"
#include "frame.S"

STACK fiber, 0x1000

FUNC guest_main
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	// The context block, {x19, x29, x30}, at the top of the fiber's stack
	adr	x1, __stack_fiber_high
	ldr	x1, [x1]
	sub	x1, x1, #64
	adr	x2, fiber_main
	str	x2, [x1, #16]
#ifndef DEFECTIVE
	str	xzr, [x1, #8]
#endif
	mov	x0, x1
	bl	jump_fcontext
	bl	jump_fcontext			// x0: where the fiber stands
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE 32
END guest_main

// x0: the context to go on with. Returns there, with the one that it has left in x0.
FUNC jump_fcontext
						// CFA=sp RA=x30
	sub	sp, sp, #32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	str	x19, [sp]
	.cfi_offset x19, -32
	str	x29, [sp, #8]
	.cfi_offset x29, -24
	str	x30, [sp, #16]			// CFA=sp+32 RA=[cfa-16]
	.cfi_offset x30, -16
	mov	x4, sp
	mov	sp, x0				// the same of the other stack
	ldr	x19, [sp]
	.cfi_restore x19
	ldr	x29, [sp, #8]
	.cfi_restore x29
	ldr	x30, [sp, #16]			// CFA=sp+32 RA=x30
	.cfi_restore x30
	add	sp, sp, #32			// CFA=sp
	.cfi_def_cfa_offset 0
	mov	x0, x4
	ret
END jump_fcontext

FUNC fiber_main
	.cfi_undefined x30			// the fiber's first function
	stp	x29, xzr, [sp, #-16]!		// CFA=sp+16
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16
	mov	x29, sp
	bl	leaf
	bl	jump_fcontext			// yields
	bl	jump_fcontext
	brk	#1
END fiber_main

FUNC leaf
						// CFA=sp RA=x30
	ENTER					// CFA=x29+16 RA=[cfa-8]
	mov	x1, #1
	LEAVE					// CFA=sp RA=x30
END leaf

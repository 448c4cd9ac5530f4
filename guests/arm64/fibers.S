// Two fibers beside the main stack: they switch among themselves, resume where they waited, and go deeper between. One calls a
// function on a stack that is nobody's, which is no switch of fibers.
#include "guest.h"
#include "frame.S"

STACK a, 0x1000
STACK b, 0x1000
STACK shared, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
a_sp: .quad 0
b_sp: .quad 0
	.popsection

// SWITCH from, to: the running fiber's context goes to the word `from`, and the one in the word `to` runs.
.macro SWITCH from, to
	adr	x0, \from
	adr	x1, \to
	bl	switch_to
.endm

// NEW fiber, entry: its context, so that it begins in `entry`, with x29 zero.
.macro NEW fiber, entry
	adr	x1, __stack_\fiber\()_high
	ldr	x1, [x1]
	sub	x1, x1, #32
	adr	x2, \entry
	stp	xzr, x2, [x1]
	adr	x2, \fiber\()_sp
	str	x1, [x2]
.endm

FUNC guest_main
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	NEW	a, a_main
	NEW	b, b_main
	SWITCH	main_sp, a_sp
	bl	leaf
	SWITCH	main_sp, b_sp
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE 32
END guest_main

// Keeps {x29, x30}, and x19.
FUNC switch_to
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x2, sp
	str	x2, [x0]
	ldr	x2, [x1]
	mov	sp, x2				// the same of the other stack
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END switch_to

FUNC a_main
	.cfi_undefined x30			// the fiber's first function
	stp	x29, xzr, [sp, #-16]!		// CFA=sp+16
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16
	mov	x29, sp
	bl	a_deeper
	SWITCH	a_sp, b_sp
	brk	#1
END a_main

FUNC a_deeper
						// CFA=sp RA=x30
	ENTER					// CFA=x29+16 RA=[cfa-8]
	SWITCH	a_sp, b_sp
	bl	leaf
	LEAVE					// CFA=sp RA=x30
END a_deeper

FUNC b_main
	.cfi_undefined x30			// the fiber's first function
	stp	x29, xzr, [sp, #-16]!		// CFA=sp+16
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16
	mov	x29, sp
	bl	on_shared
	SWITCH	b_sp, main_sp
	SWITCH	b_sp, a_sp
	SWITCH	b_sp, main_sp
	brk	#1
END b_main

// Calls leaf on a stack that belongs to no fiber.
FUNC on_shared
						// CFA=sp RA=x30
	ENTER					// CFA=x29+16 RA=[cfa-8]
	adr	x1, __stack_shared_high
	ldr	x1, [x1]
	mov	sp, x1
	bl	leaf
	mov	sp, x29
	LEAVE					// CFA=sp RA=x30
END on_shared

FUNC leaf
						// CFA=sp RA=x30
	mov	x3, #1
	ret
END leaf

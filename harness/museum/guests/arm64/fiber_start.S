//@ build fiber_start-defective: -DDEFECTIVE
//@ build fiber_start-fixed:
// The first function of a fiber is entered by the switch's return, from a context in which the link register is the function itself and
// the rest is what the stack held before. Nothing says that the stack ends there.
#include "pair.h"
#include "frame.S"

STACK fiber, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
fiber_sp: .quad 0
	.popsection

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	adr	x1, __stack_fiber_high
	ldr	x1, [x1]
	sub	x1, x1, #64
	adr	x2, coro_start
	str	x2, [x1, #8]
	adr	x0, main_sp
	bl	coro_switch
	LEAVE
END guest_main

// Saves {x29, x30} and its place at x0, and goes on with what stands at x1.
FUNC coro_switch
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x9, sp
	str	x9, [x0]
	mov	sp, x1				// the same of the other stack
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END coro_switch

FUNC coro_start
	FIX(.cfi_undefined x30)
	FIX(mov	x29, #0)
	sub	sp, sp, #16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	BUG(str	x30, [sp, #8]; .cfi_offset x30, -8)
	bl	coro_body
	adr	x0, fiber_sp
	adr	x1, main_sp
	ldr	x1, [x1]
	bl	coro_switch
	brk	#1
END coro_start

FUNC coro_body
						// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	LEAVE
END coro_body

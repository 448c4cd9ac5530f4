// Write here in a sentence what this guest pins: which instructions are hard for an unwinder, and why. What stands below is a
// function with a frame that calls one without; change it.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #5
	bl	work
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC work
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp				// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	bl	leaf				// the first place
	mov	x19, x0
	add	x0, x0, #3
	bl	leaf				// the second place
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END work

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	lsl	x1, x0, #3
	eor	x0, x0, x1
	and	x0, x0, #0xffff
	sub	x0, x0, #2
	ret
END leaf

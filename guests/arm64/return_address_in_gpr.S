// The return address is in a register other than x30. `kept_in_x9` holds it in x9 across a call and moves it back;
// `returns_by_x9` does the same and returns with `ret x9`; `x30_is_scratch` calls nothing and computes in x30, which then
// holds a number and not an address. None of the three has a frame record.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #1
	bl	caller
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC caller
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	kept_in_x9
	add	x0, x0, #1
	bl	returns_by_x9
	add	x0, x0, #1
	bl	x30_is_scratch
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

FUNC kept_in_x9
						// CFA=sp RA=x30
	add	x0, x0, #1
	mov	x9, x30				// RA=x9 (x30 holds it too until the call)
	.cfi_register x30, x9
	bl	helper
	add	x0, x0, #2
	mov	x30, x9				// RA=x30
	.cfi_restore x30
	add	x0, x0, #3
	ret
END kept_in_x9

FUNC returns_by_x9
						// CFA=sp RA=x30
	mov	x9, x30				// RA=x9 (x30 holds it too until the call)
	.cfi_register x30, x9
	add	x0, x0, #1
	bl	helper
	add	x0, x0, #2
	ret	x9
END returns_by_x9

FUNC x30_is_scratch
						// CFA=sp RA=x30
	mov	x9, x30				// RA=x9 (x30 holds it too)
	.cfi_register x30, x9
	lsl	x30, x0, #4			// from here on x30 is a number
	add	x0, x0, x30
	eor	x30, x30, x0
	ret	x9
END x30_is_scratch

// Must not touch x9.
FUNC helper
						// CFA=sp RA=x30
	eor	x0, x0, #1
	add	x0, x0, #4
	ret
END helper

// Tail calls in the shape of memset -> memset_generic: `fill` has no frame and branches to `fill_generic`; `fill_framed`
// had a frame, removes it and then branches. `fill_generic` returns straight to `caller`: until the branch, `fill` or
// `fill_framed` belongs in the trace; after it the function is rightly gone.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	caller
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// A frame of 48 bytes: the record and 32 bytes to fill.
FUNC caller
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-48]!		// CFA=sp+48 RA=[cfa-40]
	.cfi_def_cfa_offset 48; .cfi_offset x29, -48; .cfi_offset x30, -40
	mov	x29, sp				// CFA=x29+48
	.cfi_def_cfa x29, 48
	add	x0, sp, #16
	mov	x1, #0x11
	mov	x2, #16
	bl	fill
	add	x0, sp, #16
	mov	x1, #0x22
	mov	x2, #0
	bl	fill				// nothing to fill: `fill` returns itself
	add	x0, sp, #32
	mov	x1, #0x33
	mov	x2, #16
	bl	fill_framed
	ldp	x29, x30, [sp], #48		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

// x0: address, x1: value, x2: bytes, a multiple of 8. Returns the address.
FUNC fill
						// CFA=sp RA=x30
	cbz	x2, 1f
	b	fill_generic			// not a call: `fill` is gone
1:
	ret
END fill

// As `fill`, but makes a call first.
FUNC fill_framed
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-48]!		// CFA=sp+48 RA=[cfa-40]
	.cfi_def_cfa_offset 48; .cfi_offset x29, -48; .cfi_offset x30, -40
	mov	x29, sp				// CFA=x29+48
	.cfi_def_cfa x29, 48
	stp	x0, x1, [sp, #16]
	str	x2, [sp, #32]
	bl	round_down
	mov	x2, x0
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #48		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	b	fill_generic			// not a call: `fill_framed` is gone
END fill_framed

// x0: address, x1: unused, x2: bytes. Returns the bytes, rounded down to a multiple of 8.
FUNC round_down
						// CFA=sp RA=x30
	and	x0, x2, #~7
	ret
END round_down

FUNC fill_generic
						// CFA=sp RA=x30
	mov	x3, x0
1:
	str	x1, [x3], #8
	subs	x2, x2, #8
	b.ne	1b
	ret
END fill_generic

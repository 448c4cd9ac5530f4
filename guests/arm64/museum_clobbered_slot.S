//@ build museum_clobbered_slot-defective: -DDEFECTIVE
//@ build museum_clobbered_slot-fixed:
// Go keeps its caller's x29 one word below sp. Assembly that was translated from C pushes {x29, x30} at once, and its x30 lands on
// that word (defective); it must lower sp first (fixed). apache/arrow-go #150, kelindar/bitmap #43.
#include "guest.h"
#include "frame.S"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp
	mov	x0, #1
	bl	golang
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// Nothing that is below sp may be relied on, so its CFI gives x29 up.
FUNC golang
						// CFA=sp RA=x30
	str	x30, [sp, #-48]!		// CFA=sp+48 RA=[cfa-48]
	.cfi_def_cfa_offset 48; .cfi_offset x30, -48
	stur	x29, [sp, #-8]
	sub	x29, sp, #8
	.cfi_undefined x29
	bl	memset_neon
	add	x0, x0, #1
	ldp	x29, x30, [sp, #-8]		// CFA=sp+48 RA=x30
	.cfi_restore x29; .cfi_restore x30
	add	sp, sp, #48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END golang

FUNC memset_neon
						// CFA=sp RA=x30
#ifndef DEFECTIVE
	sub	sp, sp, #16			// CFA=sp+16
	.cfi_def_cfa_offset 16
#define EXTRA 16
#else
#define EXTRA 0
#endif
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16+EXTRA RA=[cfa-8-EXTRA]
	.cfi_def_cfa_offset 16 + EXTRA; .cfi_offset x29, -16 - EXTRA; .cfi_offset x30, -8 - EXTRA
	mov	x29, sp
	add	x0, x0, #2
	ldp	x29, x30, [sp], #16		// CFA=sp+EXTRA RA=x30
	.cfi_def_cfa_offset EXTRA; .cfi_restore x29; .cfi_restore x30
#ifndef DEFECTIVE
	add	sp, sp, #16			// CFA=sp
	.cfi_def_cfa_offset 0
#endif
	ret
END memset_neon

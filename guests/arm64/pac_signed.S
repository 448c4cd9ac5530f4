//@ start none
//@ build pac_signed: -march=armv8.3-a
// Signed return addresses: between `paciasp` and `autiasp`, bits 48 to 54 and 56 to 63 of x30 and of the record's word are
// not part of the address. On a CPU without pointer authentication, both instructions do nothing.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	paciasp						// RA=x30, signed
	.cfi_negate_ra_state
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8], signed
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	caller
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30, signed
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	autiasp						// RA=x30
	.cfi_negate_ra_state
	ret
END guest_main

FUNC caller
							// CFA=sp RA=x30
	paciasp						// RA=x30, signed
	.cfi_negate_ra_state
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24], signed
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #5
	bl	late
	add	x0, x0, x19
	bl	leaf
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30, signed
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	autiasp						// RA=x30
	.cfi_negate_ra_state
	ret
END caller

FUNC late
							// CFA=sp RA=x30
	paciasp						// RA=x30, signed
	.cfi_negate_ra_state
	sub	sp, sp, #32				// CFA=sp+32 RA=x30, signed
	.cfi_def_cfa_offset 32
	mov	x9, #7
	str	x9, [sp, #0]
	stp	x29, x30, [sp, #16]			// CFA=sp+32 RA=[cfa-8], signed
	.cfi_offset x29, -16; .cfi_offset x30, -8
	add	x29, sp, #16				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	ldp	x29, x30, [sp, #16]			// CFA=sp+32 RA=x30, signed
	.cfi_def_cfa sp, 32; .cfi_restore x29; .cfi_restore x30
	add	sp, sp, #32				// CFA=sp RA=x30, signed
	.cfi_def_cfa_offset 0
	autiasp						// RA=x30
	.cfi_negate_ra_state
	ret
END late

// A leaf signs nothing.
FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

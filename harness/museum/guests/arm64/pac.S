//@ build pac-defective: -march=armv8.3-a -DDEFECTIVE
//@ build pac-fixed: -march=armv8.3-a
// Signed return addresses, and rows that are wrong about when they are signed. Each function is a bug of its own; museum/exhibits has the
// reports.
#include "pair.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp
	mrs	x0, sctlr_el1
	orr	x0, x0, #(1 << 31)		// EnIA: with the instruction key
	msr	sctlr_el1, x0
	isb
	bl	early
	bl	no_epilogue
	mov	x0, #0
	bl	toggled
	mov	x0, #1
	bl	toggled
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// "Signed" begins one instruction before the one that signs.
FUNC early
						// CFA=sp RA=x30
	mov	x0, #1
	BUG(.cfi_negate_ra_state)
	paciasp					// RA=x30, signed
	FIX(.cfi_negate_ra_state)
	sub	sp, sp, #16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	str	x30, [sp, #8]			// RA=[cfa-8], signed
	.cfi_offset x30, -8
	mov	x30, #0
	ldr	x30, [sp, #8]			// RA=x30, signed
	.cfi_restore x30
	add	sp, sp, #16			// CFA=sp
	.cfi_def_cfa_offset 0
	autiasp					// RA=x30
	.cfi_negate_ra_state
	ret
END early

// An epilogue without rows: at autiasp and at ret the frame is gone, and at ret so is the signature.
FUNC no_epilogue
						// CFA=sp RA=x30
	paciasp					// RA=x30, signed
	.cfi_negate_ra_state
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8], signed
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa_register x29
	mov	x0, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30, signed
	FIX(.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30)
	autiasp					// RA=x30
	FIX(.cfi_negate_ra_state)
	ret
END no_epilogue

// Two epilogues: the state is toggled along the text, and not along the flow.
FUNC toggled
						// CFA=sp RA=x30
	paciasp					// RA=x30, signed
	.cfi_negate_ra_state
	cbnz	x0, 1f
	FIX(.cfi_remember_state)
	autiasp					// RA=x30
	.cfi_negate_ra_state
	ret
	FIX(.cfi_restore_state)
1:	mov	x0, #2				// RA=x30, signed
	autiasp					// RA=x30
	.cfi_negate_ra_state
	ret
END toggled

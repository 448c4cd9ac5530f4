// Conventions other than the ABI's: a prologue and an epilogue that functions share and call (as LLVM's homogeneous prologues and
// epilogues are), and a helper that is entered by a jump, with its return address in x9.
#include "guest.h"
#include "frame.S"

// The helper's return address has a column of its own in its CIE; clang 14 writes only one CIE to a .debug_frame.
	.cfi_sections .eh_frame

FUNC guest_main
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #7
	mov	x0, #1
	bl	user
	bl	by_x9
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE 32
END guest_main

FUNC user
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	bl	prologue_x19x20			// CFA=sp+32
	.cfi_def_cfa_offset 32; .cfi_offset x19, -24; .cfi_offset x20, -32
	mov	x19, x0
	bl	leaf
	add	x0, x0, x19
	bl	epilogue_x19x20			// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30; .cfi_restore x19; .cfi_restore x20
	ret
END user

// Lowers sp, and leaves x29 at the frame record of its caller.
FUNC prologue_x19x20
						// CFA=sp RA=x30
	stp	x20, x19, [sp, #-16]!		// CFA=sp+16
	.cfi_def_cfa_offset 16
	add	x29, sp, #16
	ret
END prologue_x19x20

// Raises sp, and restores the registers of its caller's caller.
FUNC epilogue_x19x20
						// CFA=sp RA=x30
	mov	x16, x30			// CFA=sp RA=x16
	.cfi_register x30, x16
	ldp	x29, x30, [sp, #16]
	ldp	x20, x19, [sp], #32		// CFA=sp-32
	.cfi_escape 0x13, 0x08			// DW_CFA_def_cfa_offset_sf, 8 * -4, the data alignment factor; clang 14 writes -32 as unsigned
	ret	x16
END epilogue_x19x20

FUNC by_x9
						// CFA=sp RA=x30
	adr	x9, 1f
	b	adds_one
1:	ret
END by_x9

FUNC adds_one
						// CFA=sp RA=x9
	.cfi_return_column 9; .cfi_same_value x30
	add	x0, x0, #1
	br	x9
END adds_one

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

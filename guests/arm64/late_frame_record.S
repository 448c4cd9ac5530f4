// Every instruction of a prologue and an epilogue matters: between the entry of `late` and the instruction that makes x29
// point at its record, and again between the reload of x29 and the return, a walk along frame records alone leaves out the
// caller.
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

FUNC caller
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp				// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #7
	bl	late
	mov	x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

// The record is stored and linked as late as it can be, and unlinked as early.
FUNC late
						// CFA=sp RA=x30
	sub	sp, sp, #48			// CFA=sp+48 RA=x30
	.cfi_def_cfa_offset 48
	add	x0, x0, #1
	stp	x19, x20, [sp]
	.cfi_offset x19, -48; .cfi_offset x20, -40
	stp	x29, x30, [sp, #32]		// RA=[cfa-8]; x29 still holds the caller's value
	.cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x19, x0
	add	x29, sp, #32			// CFA=x29+16: the record is linked
	.cfi_def_cfa x29, 16
	bl	leaf
	add	x0, x0, x19
	ldp	x29, x30, [sp, #32]		// CFA=sp+48 RA=x30: unlinked
	.cfi_def_cfa sp, 48; .cfi_restore x29; .cfi_restore x30
	ldp	x19, x20, [sp]
	.cfi_restore x19; .cfi_restore x20
	add	x0, x0, #1
	add	sp, sp, #48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END late

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

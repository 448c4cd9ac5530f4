// Code to interrupt: a caller with a frame record, a function that links its record late, and a leaf without one. Returns
// in x0 what the path computed.
FUNC body
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #5
	mov	x0, x19
	bl	late
	add	x0, x0, x19
	bl	leaf
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END body

FUNC late
							// CFA=sp RA=x30
	sub	sp, sp, #48				// CFA=sp+48 RA=x30
	.cfi_def_cfa_offset 48
	stp	x19, x20, [sp, #32]
	.cfi_offset x19, -16; .cfi_offset x20, -8
	add	x19, x0, #1
	eor	x20, x0, #3
	stp	x29, x30, [sp, #16]			// CFA=sp+48 RA=[cfa-24]
	.cfi_offset x29, -32; .cfi_offset x30, -24
	add	x29, sp, #16				// CFA=x29+32
	.cfi_def_cfa x29, 32
	mov	x0, x19
	bl	leaf
	add	x0, x0, x20
	ldp	x29, x30, [sp, #16]			// CFA=sp+48 RA=x30
	.cfi_def_cfa sp, 48; .cfi_restore x29; .cfi_restore x30
	ldp	x19, x20, [sp, #32]
	.cfi_restore x19; .cfi_restore x20
	add	sp, sp, #48				// CFA=sp RA=x30
	.cfi_def_cfa_offset 0
	ret
END late

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

//@ start none
// A task that gives up the CPU voluntarily is walked from its saved pc and fp: one call deep, two calls deep, and from a
// function that holds values in every callee-saved register.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	bl	shallow
	bl	deep
	mov	x19, #3
	bl	holding
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC shallow
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	schedule
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END shallow

// The record is not at the low end of the frame, so x29 is not SP at the call.
FUNC deep
							// CFA=sp RA=x30
	sub	sp, sp, #48				// CFA=sp+48 RA=x30
	.cfi_def_cfa_offset 48
	str	x20, [sp, #40]
	.cfi_offset x20, -8
	stp	x29, x30, [sp, #16]			// CFA=sp+48 RA=[cfa-24]
	.cfi_offset x29, -32; .cfi_offset x30, -24
	add	x29, sp, #16				// CFA=x29+32
	.cfi_def_cfa x29, 32
	mov	x20, #7
	str	x20, [sp, #0]
	bl	shallow
	ldr	x20, [sp, #40]
	.cfi_restore x20
	ldp	x29, x30, [sp, #16]			// CFA=sp+48 RA=x30
	.cfi_def_cfa sp, 48; .cfi_restore x29; .cfi_restore x30
	add	sp, sp, #48				// CFA=sp RA=x30
	.cfi_def_cfa_offset 0
	ret
END deep

FUNC holding
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-96]!			// CFA=sp+96 RA=[cfa-88]
	.cfi_def_cfa_offset 96; .cfi_offset x29, -96; .cfi_offset x30, -88
	mov	x29, sp					// CFA=x29+96
	.cfi_def_cfa x29, 96
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -80; .cfi_offset x20, -72
	stp	x21, x22, [sp, #32]
	.cfi_offset x21, -64; .cfi_offset x22, -56
	stp	x23, x24, [sp, #48]
	.cfi_offset x23, -48; .cfi_offset x24, -40
	stp	x25, x26, [sp, #64]
	.cfi_offset x25, -32; .cfi_offset x26, -24
	stp	x27, x28, [sp, #80]
	.cfi_offset x27, -16; .cfi_offset x28, -8
	.irp	n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
	mov	x\n, #\n
	.endr
	bl	schedule
	mov	x0, xzr
	.irp	n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
	add	x0, x0, x\n
	.endr
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	ldp	x21, x22, [sp, #32]
	.cfi_restore x21; .cfi_restore x22
	ldp	x23, x24, [sp, #48]
	.cfi_restore x23; .cfi_restore x24
	ldp	x25, x26, [sp, #64]
	.cfi_restore x25; .cfi_restore x26
	ldp	x27, x28, [sp, #80]
	.cfi_restore x27; .cfi_restore x28
	ldp	x29, x30, [sp], #96			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END holding

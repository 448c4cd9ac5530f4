// BROKEN ON PURPOSE. `victim` overwrites both words of its own linked frame record and restores them. At exactly three
// instructions the RA word in memory points into `bystander` (right after a call there, so it looks like any return
// address), and at the middle one of the three the FP word also skips the record of `caller`. `bystander` never runs: a
// walk along frame records must be wrong about it at these three instructions and at no others. (What such a walk leaves
// out in prologues, epilogues and leaves is another matter.) The return itself is in order.
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
	bl	victim
	add	x0, x0, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

FUNC victim
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	ldp	x9, x10, [x29]			// the true words
	ldr	x11, [x9]			// the record of guest_main
	adr	x12, .Lbehind_a_call
	str	x12, [x29, #8]			// RA=x10 only; the RA word is wrong
	.cfi_register x30, x10
	str	x11, [x29]			// both words are wrong
	.cfi_register x29, x9
	str	x9, [x29]			// the RA word is wrong
	.cfi_offset x29, -16
	str	x10, [x29, #8]			// RA=[cfa-8]: the record is right again
	.cfi_offset x30, -8
	add	x0, x0, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END victim

FUNC bystander
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
.Lbehind_a_call:
	add	x0, x0, #2
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END bystander

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

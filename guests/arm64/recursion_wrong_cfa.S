// BROKEN ON PURPOSE. One function waits for itself, and at one instruction its row gives a CFA that is too high by a whole
// frame. The return address is right, and equal to that of the next activation, and so is the CFA: the walk names that
// activation twice and this one not at all. Only the CFAs tell the two apart, for all pcs are right.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #3
	bl	descend
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC descend
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x1, #0
	.cfi_remember_state
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	sub	x0, x0, #1			// the CFA is x29+16, and not x29+32
	.cfi_restore_state
	cbz	x0, 1f
	bl	descend
1:	add	x1, x1, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END descend

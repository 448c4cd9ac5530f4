// Frames less aligned than the ABI promises, which the CPU only minds in loads and stores by sp: it is 8 mod 16 at one
// call, and 4 mod 8 at another.
#include "guest.h"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #3
	bl	by_eight
	bl	by_four
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC by_eight
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	sub	sp, sp, #8				// sp mod 16 = 8
	bl	leaf
	mov	sp, x29
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END by_eight

FUNC by_four
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	sub	sp, sp, #12				// sp mod 8 = 4
	bl	leaf
	mov	sp, x29
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END by_four

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #7
	ret
END leaf

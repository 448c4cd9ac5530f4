// BROKEN ON PURPOSE. `clobber` overwrites x19 without saving it on the stack: it keeps the old value in x9 and returns with
// the wrong one; `caller` restores it with the third instruction after the return. Every return address is in order, so no
// comparison of return addresses can detect it. The oracle's register witness must: x19 at the return of `clobber` is not
// what it was at the call. No other return of this guest is wrong.
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
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp				// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #7
	bl	clobber				// returns with the wrong x19
	add	x0, x0, #1
	lsl	x0, x0, #1
	mov	x19, x9				// x19 is right again
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

FUNC clobber
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	mov	x9, x19
	mov	x19, #99			// the fault: not saved, not restored
	add	x0, x0, x19
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END clobber

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

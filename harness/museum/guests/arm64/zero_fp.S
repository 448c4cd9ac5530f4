//@ build zero_fp-defective: -DDEFECTIVE
//@ build zero_fp-fixed:
// A function that uses x29 for data: a walk along records takes a number for a record's address, and 0 for the end.
#include "pair.h"
#include "frame.S"

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	bl	zero_fp
	LEAVE
END guest_main

FUNC zero_fp
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	.cfi_def_cfa sp, 32
	BUG(mov	x29, #0)
	FIX(mov	x9, #0)
	BUG(add	x0, x29, #1)
	FIX(add	x0, x9, #1)
	bl	zero_fp_leaf
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END zero_fp

FUNC zero_fp_leaf
						// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	LEAVE
END zero_fp_leaf

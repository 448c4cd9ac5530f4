//@ build museum_ra_in_x19-defective: -DDEFECTIVE
//@ build museum_ra_in_x19-fixed:
// A veneer keeps its return address in a callee-saved register across a call: without a word of it in the CFI (defective), or with
// .cfi_register (fixed). Its callee saves that register. ocaml/ocaml #1326.
#include "guest.h"
#include "frame.S"

FUNC guest_main
	ENTER
	mov	x0, #1
	bl	ml_code
	LEAVE
END guest_main

// Code of a runtime in which x19 is nobody's: it saves x19 for its own caller, and expects nothing of its callees.
FUNC ml_code
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	bl	c_call
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE 32
END ml_code

FUNC c_call
						// CFA=sp RA=x30
	mov	x19, x30			// CFA=sp RA=x19
#ifndef DEFECTIVE
	.cfi_register x30, x19
#endif
	bl	c_function
	add	x0, x0, #1
	bl	c_leaf
	ret	x19
END c_call

FUNC c_function
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
	bl	c_leaf
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE 32
END c_function

FUNC c_leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END c_leaf

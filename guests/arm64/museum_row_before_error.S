//@ build museum_row_before_error-defective: -DDEFECTIVE
//@ build museum_row_before_error-fixed:
// One row for the whole body, and after it a CFI instruction that no reader knows. What was said before stays true up to there.
#include "guest.h"
#include "frame.S"

FUNC guest_main
	ENTER
	mov	x0, #1
	bl	body
	LEAVE
END guest_main

FUNC body
	ENTER
	add	x0, x0, #1
	add	x0, x0, #2
	add	x0, x0, #3
	bl	leaf
	add	x0, x0, #4
#ifdef DEFECTIVE
	.cfi_escape 0x3b
#endif
	LEAVE
END body

FUNC leaf
	add	x0, x0, #1
	ret
END leaf

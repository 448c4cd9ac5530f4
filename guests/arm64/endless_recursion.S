// A function that calls itself without end and without touching the stack, which therefore never is full: the link register
// holds each return address in turn. A run of it must be void after a bounded time, whatever the budget.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	endless
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC endless
						// CFA=sp RA=x30
	bl	endless				// the return address is lost
	.cfi_undefined x30
	ret
END endless

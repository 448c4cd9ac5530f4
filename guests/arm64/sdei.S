//@ start none
//@ build sdei
//@ build sdei_scs: -DSCS
// Firmware events (SDEI): no mask stops them, so they hit entry code as well as the code that it interrupted, and the
// handler runs on a stack of its own. With SCS it has a shadow call stack (x18) of its own, too.
#include "kernel.S"
#include "kernel_sdei.S"
#include "kernel_body.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	body
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

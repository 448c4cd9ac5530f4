// A call that never returns may be a function's last instruction; its return address then lies after the function, and a
// walk must look up the byte before it. After `padded` comes padding without unwind data; after `flush` comes `bystander`,
// which has another frame.
#include "guest.h"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #3
	bl	padded
	udf	#0					// not reached
END guest_main

FUNC padded
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	nop
	nop
	bl	flush					// the last instruction
END padded

FUNC flush
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	nop
	bl	stop					// the last instruction, 16 bytes from the first one
END flush

// Never runs.
FUNC bystander
							// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END bystander

FUNC stop
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	add	x0, x0, #7
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	b	__sentinel				// the run ends
END stop

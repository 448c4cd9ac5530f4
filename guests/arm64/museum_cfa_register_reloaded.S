//@ build museum_cfa_register_reloaded-defective: -DDEFECTIVE
//@ build museum_cfa_register_reloaded-fixed:
// wasm-micro-runtime #5093 (review): `invoke` moves SP for the arguments of the function that it calls, and keeps the
// old SP in x22 and its return address in x20. The rows count the CFA from x22 up to the end, although the epilogue
// reloads x22; the fixed build counts from SP again before that.
#include "guest.h"
#include "frame.S"

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	bl	invoke
	LEAVE
END guest_main

FUNC invoke
						// CFA=sp RA=x30
	sub	sp, sp, #0x30			// CFA=sp+0x30
	.cfi_def_cfa_offset 0x30
	stp	x19, x20, [sp, #0x20]
	.cfi_offset x19, -0x10; .cfi_offset x20, -8
	stp	x21, x22, [sp, #0x10]
	.cfi_offset x21, -0x20; .cfi_offset x22, -0x18
	stp	x23, x24, [sp]
	.cfi_offset x23, -0x30; .cfi_offset x24, -0x28
	mov	x19, x0
	mov	x20, x30			// RA=x20
	.cfi_register x30, x20
	mov	x22, sp				// CFA=x22+0x30
	.cfi_def_cfa_register x22
	sub	sp, sp, #32			// for arguments
	bl	native
	mov	sp, x22				// CFA=sp+0x30, and still x22+0x30
	mov	x30, x20			// RA=x30
	.cfi_restore x30
#ifndef DEFECTIVE
	.cfi_def_cfa_register sp
#endif
	ldp	x23, x24, [sp]
	.cfi_restore x23; .cfi_restore x24
	ldp	x21, x22, [sp, #0x10]		// CFA=sp+0x30 alone
	.cfi_restore x21; .cfi_restore x22
	ldp	x19, x20, [sp, #0x20]
	.cfi_restore x19; .cfi_restore x20
	add	sp, sp, #0x30			// CFA=sp
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 0
#endif
	ret
END invoke

FUNC native
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END native

//@ build museum_split_sp_add-defective: -DDEFECTIVE
//@ build museum_split_sp_add-fixed:
// golang/go #73259: a frame of more than 4 KiB is taken down by two adds, because one has no room for its size. Between
// them SP is on its way, and the defective build has no row for that. `big` is called by a function whose CFA is x29's
// and by one whose CFA is SP's; below the latter the wrong CFA is a wrong place of a return address, and 0x1000 higher
// lies that of `outer`.
#include "guest.h"
#include "frame.S"

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	bl	by_x29
	bl	outer
	LEAVE
END guest_main

FUNC by_x29
						// CFA=sp RA=x30
	ENTER
	bl	big
	add	x0, x0, #1
	LEAVE
END by_x29

FUNC outer
						// CFA=sp RA=x30
	sub	sp, sp, #0x1, lsl #12		// CFA=sp+0x1000
	.cfi_def_cfa_offset 0x1000
	str	x30, [sp, #0xff8]		// RA=[cfa-8]
	.cfi_offset x30, -8
	bl	by_sp
	ldr	x30, [sp, #0xff8]		// RA=x30
	.cfi_restore x30
	add	sp, sp, #0x1, lsl #12		// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END outer

FUNC by_sp
						// CFA=sp RA=x30
	sub	sp, sp, #32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	str	x30, [sp, #24]			// RA=[cfa-8]
	.cfi_offset x30, -8
	bl	big
	add	x0, x0, #1
	ldr	x30, [sp, #24]			// RA=x30
	.cfi_restore x30
	add	sp, sp, #32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END by_sp

FUNC big
						// CFA=sp RA=x30
	sub	x9, sp, #0x1, lsl #12
	sub	x9, x9, #0x20
	mov	sp, x9				// CFA=sp+0x1020
	.cfi_def_cfa_offset 0x1020
	str	x30, [sp]			// RA=[cfa-0x1020]
	.cfi_offset x30, -0x1020
	bl	leaf
	ldr	x30, [sp]			// RA=x30
	.cfi_restore x30
	add	sp, sp, #0x1, lsl #12		// CFA=sp+0x20
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 0x20
#endif
	add	sp, sp, #0x20			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END big

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

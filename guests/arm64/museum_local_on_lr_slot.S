//@ build museum_local_on_lr_slot-defective: -DLOCAL=0
//@ build museum_local_on_lr_slot-fixed: -DLOCAL=8
// klauspost/compress #1176: assembly that was translated from x86-64, where a frame's first word is free for a local.
// On arm64 the prologue has saved x30 there. The leaf `decode` returns by x30 itself, so nobody but a walk reads the
// word.
#include "guest.h"
#include "frame.S"

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	mov	x0, #1
	bl	caller
	LEAVE
END guest_main

FUNC caller
						// CFA=sp RA=x30
	ENTER
	bl	decode
	add	x0, x0, #1
	LEAVE
END caller

FUNC decode
						// CFA=sp RA=x30
	str	x30, [sp, #-48]!		// CFA=sp+48 RA=[cfa-48], and still x30
	.cfi_def_cfa_offset 48; .cfi_offset x30, -48
	mov	x1, #77
	str	x1, [sp, #LOCAL]		// at 0: RA=x30 alone, whatever the row says
	add	x0, x0, #2
	ldr	x1, [sp, #LOCAL]
	add	x0, x0, x1
	add	sp, sp, #48			// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x30
	ret
END decode

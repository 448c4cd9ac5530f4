//@ start none
// Functions that are annotated as leaves, but make calls. They have the shape of the block cipher modes of arm64 Linux: a
// loop around an internal function. Their one row says CFA=sp, RA=x30, x29 retained throughout; the comments give the
// truth.
#include "kernel.S"
#include "annotation.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, #7
	bl	caller
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC caller
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	encrypt_frame_push
	bl	encrypt_sub_sp
	bl	encrypt_push_lr
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END caller

// A frame record and two registers in one push, then calls in a loop. All eight of Linux begin like this.
LEAF encrypt_frame_push
							// CFA=sp RA=x30
	hint	#34					// bti c
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	mov	x29, sp					// CFA=x29+32
	stp	x19, x20, [sp, #16]
	mov	x19, x0
	mov	x20, #2
1:	mov	x0, x19
	bl	block					// from here on x30 is a return address into this function
	eor	x19, x19, x0
	subs	x20, x20, #1
	b.ne	1b
	mov	x0, x19
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	ret
END_LEAF encrypt_frame_push

// The same with space for a tweak below the record: SP moves twice.
LEAF encrypt_sub_sp
							// CFA=sp RA=x30
	hint	#34
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	mov	x29, sp					// CFA=x29+16
	sub	sp, sp, #48
	str	x0, [sp]
	bl	block
	ldr	x1, [sp]
	eor	x0, x0, x1
	str	x0, [sp, #16]
	bl	block
	add	sp, sp, #48
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	ret
END_LEAF encrypt_sub_sp

// Only x30 is saved. No annotated function in Linux looks like this: a walk along frame records could not handle it either,
// whatever the unwind data say.
LEAF encrypt_push_lr
							// CFA=sp RA=x30
	hint	#34
	str	x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-16]
	bl	block
	add	x0, x0, #1
	ldr	x30, [sp], #16				// CFA=sp RA=x30
	ret
END_LEAF encrypt_push_lr

// What they call. Its annotation is true.
LEAF block
							// CFA=sp RA=x30
	eor	x0, x0, x0, lsl #5
	add	x0, x0, #9
	ret
END_LEAF block

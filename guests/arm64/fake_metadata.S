//@ start none
// Records next to words that look like metadata: each function keeps {0, 0, N} right below its frame record, and N, 0, 0, N
// right above it, for N of the outermost record, of pt_regs, and of no known type. A walk that reads the word after an
// ordinary record as a type, or misses a record by a word, finds a false type there.
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x0, xzr
	bl	like_final
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

.macro LIKE name, type, next
FUNC \name
							// CFA=sp RA=x30
	sub	sp, sp, #80				// CFA=sp+80 RA=x30
	.cfi_def_cfa_offset 80
	mov	x9, #\type
	stp	xzr, xzr, [sp, #8]			// {0, 0, type} ends where the record begins
	str	x9, [sp, #24]
	stp	x9, xzr, [sp, #48]			// the record's third word is a type; then {0, 0, type} again
	stp	xzr, x9, [sp, #64]
	stp	x29, x30, [sp, #32]			// CFA=sp+80 RA=[cfa-40]
	.cfi_offset x29, -48; .cfi_offset x30, -40
	add	x29, sp, #32				// CFA=x29+48
	.cfi_def_cfa x29, 48
	bl	\next
	add	x0, x0, #\type
	ldp	x29, x30, [sp, #32]			// CFA=sp+80 RA=x30
	.cfi_def_cfa sp, 80; .cfi_restore x29; .cfi_restore x30
	add	sp, sp, #80				// CFA=sp RA=x30
	.cfi_def_cfa_offset 0
	ret
END \name
.endm

LIKE like_final, 1, like_pt_regs
LIKE like_pt_regs, 2, like_nothing
LIKE like_nothing, 3, leaf

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

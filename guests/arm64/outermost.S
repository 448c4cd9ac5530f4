// Where the unwind data say that a function has no caller, the stack ends, whatever x29 holds: here a plain number, so the
// frame pointer does not show the end. `_start` makes calls from there; `thread`, which was not called, runs the rest.
// Between them `liar` **says that it has no caller, but has one**: a walk that believes it loses everything older.
//@ start none
#include "guest.h"

STACK task, 0x4000

FUNC _start
	.cfi_undefined x30				// the outermost function
	mov	x29, #5
	mov	x0, #3
	bl	guest_main
	bl	liar
	b	thread
END _start

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	add	x0, x0, #1
	bl	leaf
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC liar
						// CFA=sp RA=x30
	.cfi_undefined x30				// not true
	mov	x9, x30
	bl	leaf
	mov	x30, x9
	ret
END liar

// Begins a stack.
FUNC thread
	.cfi_undefined x30				// the outermost function
	sub	sp, sp, #16
	bl	leaf
	b	__sentinel				// the run ends
END thread

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #7
	ret
END leaf

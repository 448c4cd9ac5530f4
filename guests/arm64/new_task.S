//@ start none
// The first run of a task: nothing called it; it starts in `ret_from_fork` with x29 pointing at its outermost record, which
// lies in a pt_regs that no exception saved.
#define OTHER_FN child
#define OTHER_ARG __current
#include "kernel.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	adr	x0, task_other
	bl	walk_task				// it has not run
	bl	wait_for_other
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC child
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	bl	do_exit
END child

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

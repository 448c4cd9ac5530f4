//@ start none
// A kernel thread: its walk ends after the function that `ret_from_fork` called, at a record that no exception built. It
// works, gives up the CPU halfway, and works again; its last call does not return.
#define OTHER_FN thread
#define OTHER_ARG __current
#include "kernel.S"
#include "kernel_body.S"

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	wait_for_other
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC thread
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #2
1:	bl	body
	bl	schedule
	sub	x19, x19, #1
	cbnz	x19, 1b
	bl	do_exit
END thread

//@ start none
//@ build user_entry
//@ build sdei_user: -DSDEI
// Exceptions in user mode: pt_regs is at the end of the task's stack, its record is the outermost one, and no value from
// user mode, least of all x29, may lead any further. With SDEI, firmware events can be exceptions too.
#define OTHER_FN become_user
#define OTHER_ARG user_main
#ifndef SDEI
#define WALKS_USER
#endif
#include "kernel.S"
#include "kernel_user.S"
#ifdef SDEI
#include "kernel_sdei.S"
#endif

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

// In EL0, with SP at the end of the user stack.
FUNC user_main
	.cfi_undefined x30				// the outermost function
	mov	x29, xzr
	mov	x30, xzr
	mov	x19, #2
1:	mov	x0, x19
	bl	user_caller
	sub	x19, x19, #1
	cbnz	x19, 1b
	mov	x8, #93
	svc	#0
END user_main

FUNC user_caller
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #9
	bl	user_leaf
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END user_caller

// x29 holds a plain number here, as in programs built without frame pointers.
FUNC user_leaf
							// CFA=sp RA=x30
	mov	x9, x29
	.cfi_register x29, x9
	add	x29, x0, #2
	eor	x0, x29, #4
	mov	x29, x9
	.cfi_restore x29
	ret
END user_leaf

//@ start none
// System calls: the walk from the kernel ends at the pt_regs of the entry from user mode; functions of the call are
// interrupted, too, so one walk crosses the pt_regs of an interrupt and then ends at those of the system call.
#define OTHER_FN become_user
#define OTHER_ARG user_main
#define SYS_CALL sys_work
#define WALKS_USER
#include "kernel.S"
#include "kernel_body.S"
#include "kernel_user.S"

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

// x0: the first argument of the system call.
FUNC sys_work
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
	bl	body
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END sys_work

// In EL0.
FUNC user_main
	.cfi_undefined x30				// the outermost function
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, #1
	bl	user_call
	bl	user_call
	mov	x8, #93
	svc	#0
END user_main

FUNC user_call
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mov	x8, #1
	svc	#0
	add	x0, x0, #1
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END user_call

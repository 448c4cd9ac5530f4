//@ start none
// The idle task of another CPU: `secondary_entry` writes the outermost record and goes straight to C with x29 pointing at
// it, without any ordinary record between. Here the "other CPU" is the other task, and the boot task "powers it on" by
// switching to it.
#define OTHER_PC secondary_entry
#include "kernel.S"

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

// Masked, with SP where pt_regs would be: the state of a CPU that has just been given its stack.
CODE secondary_entry
	stp	xzr, xzr, [sp, #PT_RECORD]
	mov	x0, #TYPE_FINAL
	str	x0, [sp, #PT_TYPE]
	add	x29, sp, #PT_RECORD			// the chain ends here
	bl	secondary_start_kernel
	b	bad_mode				// it does not return
END_CODE secondary_entry

FUNC secondary_start_kernel
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	msr	daifclr, #15
	mov	x19, #3
1:	bl	do_idle
	subs	x19, x19, #1
	b.ne	1b
	bl	do_exit
END secondary_start_kernel

#include "kernel_idle.S"

// A user process on task_other, for the guests that enter the kernel from EL0. The guest says OTHER_FN become_user, and
// in OTHER_ARG where the process starts.
STACK user, 0x1000

// A kernel thread's function, x0: where to start in EL0. It fills the pt_regs of its task, whose record stays what it is,
// and returns to ret_from_fork, which leaves for user mode.
FUNC become_user
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	mrs	x1, sp_el0
	ldr	x1, [x1, #TASK_HIGH]
	sub	x1, x1, #PT_SIZE
	adr	x2, __stack_user_high
	ldr	x2, [x2]
	stp	x2, x0, [x1, #PT_SP]			// and pc
	str	xzr, [x1, #PT_PSTATE]			// EL0, nothing masked
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END become_user

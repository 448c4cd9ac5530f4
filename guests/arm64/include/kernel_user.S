// A user process on task_other, for the guests that enter the kernel from EL0. The guest defines OTHER_FN as become_user,
// and OTHER_ARG as the address at which the process starts.
STACK user, 0x1000

// A kernel thread's function, x0: where to start in EL0. It fills the pt_regs of its task, leaving the record as it is, and
// returns to ret_from_fork, which leaves for user mode.
FUNC become_user
							// CFA=sp RA=x30
	ENTER
	mrs	x1, sp_el0
	ldr	x1, [x1, #TASK_HIGH]
	sub	x1, x1, #PT_SIZE
	adr	x2, __stack_user_high
	ldr	x2, [x2]
	stp	x2, x0, [x1, #PT_SP]			// and pc
	str	xzr, [x1, #PT_PSTATE]			// EL0, nothing masked
	LEAVE
END become_user

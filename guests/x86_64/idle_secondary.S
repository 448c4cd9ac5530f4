// The idle task of another CPU: it does not begin in ret_from_fork but in boot code, which takes the empty stack, calls the
// function in initial_code, and has no caller.
//@ start none
//@ build idle_secondary: -DUNWINDER_FRAME_POINTER
//@ build idle_secondary-orc: -DUNWINDER_ORC
#define OTHER_ENTRY secondary_startup
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	movl	$1, %eax
	LEAVE
END guest_main

CODE secondary_startup
	ORC_END_OF_STACK
	movq	cpu_current_top_of_stack(%rip), %rsp
	subq	$REGS_SIZE, %rsp		// REGS=rsp
	xorl	%ebp, %ebp			// no caller
	call	*initial_code(%rip)
	ud2
END_CODE secondary_startup

FUNC start_secondary
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule_tail
	movq	$-1, %rdi			// for ever
	call	cpu_startup_entry
	ud2
END start_secondary

#include "kernel_idle.S"

	.pushsection .data
	.p2align 3
	.type initial_code, @object
	.size initial_code, 8
initial_code:
	.quad start_secondary
	.popsection

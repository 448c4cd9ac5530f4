//@ start none
//@ build museum_idle_stack_end-defective: -DDEFECTIVE
//@ build museum_idle_stack_end-fixed:
// Linux 2f62f36e62da ("x86/xen: Make the boot CPU idle task reliable"): a CPU comes up, and its idle task is walked for
// a live patch. The defective build starts at the very top of the stack instead of below a pt_regs, and jumps into C
// without a return address; so the stack does not end where a reliable walk looks for its end.
#define OTHER_ENTRY secondary_startup
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	leaq	task_other(%rip), %rdi
	call	walk_task
	movl	$1, %eax
	LEAVE
END guest_main

CODE secondary_startup
	ORC_END_OF_STACK
	movq	cpu_current_top_of_stack(%rip), %rsp
#ifdef DEFECTIVE
	xorl	%ebp, %ebp			// no caller
	jmp	start_secondary
#else
	subq	$REGS_SIZE, %rsp		// REGS=rsp
	xorl	%ebp, %ebp			// no caller
	call	start_secondary
	ud2
#endif
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

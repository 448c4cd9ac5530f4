// A task that has never run: ret_from_fork_asm was not called, and only the saved frame pointer (pt_regs|1) says that the
// stack ends there. Then its first run, and the same task asleep.
//@ start none
//@ build new_task: -DUNWINDER_FRAME_POINTER
//@ build new_task-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	task_other(%rip), %rdi
	call	walk_task
	call	schedule			// its first run
	leaq	task_other(%rip), %rdi
	call	walk_task
	call	schedule
	movl	$1, %eax
	LEAVE
END guest_main

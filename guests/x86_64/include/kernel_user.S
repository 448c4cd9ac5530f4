// The way to user mode. A guest includes it after kernel.S, defines OTHER_TASK as become_user before that, and has a
// user_main, which must end with a system call other than 0.

// Runs on task_other and makes a process of it. ret_from_fork sends it to user mode.
FUNC become_user
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	user_main(%rip), %rdi
	call	start_thread
	LEAVE
END become_user

// Gives up the CPU until the process has ended.
FUNC wait_for_other
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
.Lwait:
	call	schedule
	cmpq	$0, other_exited(%rip)
	je	.Lwait
	LEAVE
END wait_for_other

// What every CPU's idle task runs, for the guests with idle tasks.
FUNC cpu_startup_entry
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
.Lidle_again:
	call	do_idle
	decq	%rbx
	jnz	.Lidle_again
	RESTORE	%rbx
	LEAVE
END cpu_startup_entry

FUNC do_idle
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	idle_wait
	call	schedule
	LEAVE
END do_idle

FUNC idle_wait
						// CFA=rsp+8 RA=[cfa-8]
	pause					// a kernel halts here
	ret
END idle_wait

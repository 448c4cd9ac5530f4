// What every CPU's idle task runs, for the guests with idle tasks.
FUNC cpu_startup_entry
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rbx
	.cfi_offset %rbx, -24
	movq	%rdi, %rbx
.Lidle_again:
	call	do_idle
	decq	%rbx
	jnz	.Lidle_again
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END cpu_startup_entry

FUNC do_idle
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	idle_wait
	call	schedule
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END do_idle

FUNC idle_wait
						// CFA=rsp+8 RA=[cfa-8]
	pause					// a kernel halts here
	ret
END idle_wait

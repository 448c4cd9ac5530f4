//@ start none
//@ build ftrace_direct: -DUNWINDER_FRAME_POINTER
//@ build ftrace_direct-orc: -DUNWINDER_ORC
// Direct calls: a traced function's call ends in a trampoline of the tracer's own. One builds no frame record; the other,
// as a JIT compiler makes it, builds two: for the traced function's caller, and for the traced function.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	traced_plain
	movl	$6, %edi
	call	traced_records
	LEAVE
END parent

TRACED traced_plain, plain_trampoline
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	1(%rdi), %rax
	LEAVE
END traced_plain

TRACED traced_records, records_trampoline
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	2(%rdi), %rax
	LEAVE
END traced_records

FUNC plain_trampoline
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rdi				// CFA=rsp+16
	.cfi_def_cfa_offset 16
	call	direct_function
	popq	%rdi				// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END plain_trampoline

FUNC records_trampoline
						// CFA=rsp+8 RA=[cfa-8]
	pushq	8(%rsp)				// CFA=rsp+16; the traced function's caller
	.cfi_def_cfa_offset 16
	pushq	%rbp				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_offset %rbp, -24
	movq	%rsp, %rbp
	pushq	16(%rsp)			// CFA=rsp+32; the traced function
	.cfi_def_cfa_offset 32
	pushq	%rbp				// CFA=rsp+40
	.cfi_def_cfa_offset 40
	movq	%rsp, %rbp
	pushq	%rdi				// CFA=rsp+48
	.cfi_def_cfa_offset 48
	call	direct_function
	popq	%rdi				// CFA=rsp+40
	.cfi_def_cfa_offset 40
	movq	16(%rsp), %rbp
	.cfi_restore %rbp
	addq	$32, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END records_trampoline

// What is called directly: it sleeps.
FUNC direct_function
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	LEAVE
END direct_function

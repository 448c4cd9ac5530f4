// Calls through a procedure linkage table as linkers make it: 16-byte stubs, bound at the first call. Its rows repeat with
// every stub (SFrame: PCTYPE_MASK), so the section is hand-written; the second stub's rows are those of the first.
#include "guest.h"
#include "sframe.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	caller
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC caller
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	plt				// first: to the resolver
	movq	%rax, %rdi
	call	plt + 16
	movq	%rax, %rdi
	call	plt				// bound
	movq	%rax, %rdi
	call	plt + 16
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

// The head of the table: pushes which library it is, and goes to the resolver.
FUNC plt_head
						// CFA=rsp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16
	pushq	got + 8(%rip)			// CFA=rsp+24
	.cfi_def_cfa_offset 24
	jmpq	*got + 16(%rip)
	.byte	0x0f, 0x1f, 0x40, 0		// nopl: pads to the size of a stub
END plt_head

FUNC plt
						// CFA=rsp+8 RA=[cfa-8]
	jmpq	*got + 24(%rip)
	.byte	0x68, 0, 0, 0, 0		// pushq $0: CFA=rsp+16
	.cfi_def_cfa_offset 16
	.byte	0xe9				// jmp plt_head
	.4byte	plt_head - . - 4
						// CFA=rsp+8
	.cfi_def_cfa_offset 8
	jmpq	*got + 32(%rip)
	.byte	0x68, 1, 0, 0, 0		// pushq $1: CFA=rsp+16
	.cfi_def_cfa_offset 16
	.byte	0xe9				// jmp plt_head
	.4byte	plt_head - . - 4
END plt

// Binds the stub whose number is at 8(%rsp), and goes to its function.
FUNC resolve
						// CFA=rsp+24 RA=[cfa-8]
	.cfi_def_cfa_offset 24
	pushq	%rdi				// CFA=rsp+32
	.cfi_def_cfa_offset 32
	movq	16(%rsp), %rdi
	call	find				// the function's address, in rax
	movq	%rax, %r11
	popq	%rdi				// CFA=rsp+24
	.cfi_def_cfa_offset 24
	addq	$16, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	jmp	*%r11
END resolve

FUNC find
						// CFA=rsp+8 RA=[cfa-8]
	movq	functions(,%rdi,8), %rax
	movq	%rax, got + 24(,%rdi,8)
	ret
END find

FUNC add_one
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END add_one

FUNC twice
						// CFA=rsp+8 RA=[cfa-8]
	leaq	(%rdi,%rdi), %rax
	ret
END twice

	.data
	.p2align 3
got:
	.quad	0, 0x1b, resolve, plt + 6, plt + 22
functions:
	.quad	add_one, twice

	SFRAME 20
	SFRAME_FUNCTION _start, outermost
	SFRAME_FUNCTION guest_main, guest_main
	SFRAME_FUNCTION caller, caller
	SFRAME_FUNCTION plt_head, plt_head
	SFRAME_FUNCTION plt, plt
	SFRAME_FUNCTION resolve, resolve
	SFRAME_FUNCTION find, plain
	SFRAME_FUNCTION add_one, plain2
	SFRAME_FUNCTION twice, plain3
	SFRAME_ROWS
	SFRAME_ROWS_OF outermost, 1
	SFRAME_ROW_OUTERMOST 0
	SFRAME_ROWS_OF guest_main, 4
	SFRAME_ROW 0, 8
	SFRAME_ROW 1, 16, -16
	SFRAME_ROW_RBP 4, 16, -16
	SFRAME_ROW 15, 8
	SFRAME_ROWS_OF caller, 4
	SFRAME_ROW 0, 8
	SFRAME_ROW 1, 16, -16
	SFRAME_ROW_RBP 4, 16, -16
	SFRAME_ROW 34, 8
	SFRAME_ROWS_OF plt_head, 2
	SFRAME_ROW 0, 16
	SFRAME_ROW 6, 24
	SFRAME_ROWS_OF plt, 2, info=0x10, block=16
	SFRAME_ROW 0, 8
	SFRAME_ROW 11, 16
	SFRAME_ROWS_OF resolve, 4
	SFRAME_ROW 0, 24
	SFRAME_ROW 1, 32
	SFRAME_ROW 15, 24
	SFRAME_ROW 19, 8
	SFRAME_ROWS_OF plain, 1
	SFRAME_ROW 0, 8
	SFRAME_ROWS_OF plain2, 1
	SFRAME_ROW 0, 8
	SFRAME_ROWS_OF plain3, 1
	SFRAME_ROW 0, 8
	SFRAME_END

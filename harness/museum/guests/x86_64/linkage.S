//@ build linkage-defective: -DDEFECTIVE
//@ build linkage-fixed:
// Between a call and the function that it reaches: lazy binding, arguments moved by tail calls, stubs of the C library. Each function
// is a bug of its own; museum/exhibits has the reports.
#include "pair.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	plt				// to the resolver
	call	plt				// bound
	call	fork_stub
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// One slot of a procedure linkage table, as a linker writes it.
FUNC plt
						// CFA=rsp+8 RA=[cfa-8]
	jmpq	*got + 16(%rip)
plt_push:
	.byte	0x68, 0, 0, 0, 0		// pushq $0: CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	jmp	plt_head
END plt

FUNC plt_head
						// CFA=rsp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16
	pushq	got(%rip)			// CFA=rsp+24
	.cfi_def_cfa_offset 24
	jmpq	*got + 8(%rip)
END plt_head

// Entered with two words more than a function: which library, and which slot.
FUNC resolver
						// CFA=rsp+24 RA=[cfa-8]
	FIX(.cfi_def_cfa_offset 24)
	pushq	%rdi				// CFA=rsp+32
	BUG(.cfi_def_cfa_offset 16)
	FIX(.cfi_def_cfa_offset 32)
	leaq	plt_target(%rip), %r11
	movq	%r11, got + 16(%rip)
	popq	%rdi				// CFA=rsp+24
	BUG(.cfi_def_cfa_offset 8)
	FIX(.cfi_def_cfa_offset 24)
	addq	$16, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	jmp	*%r11
END resolver

FUNC plt_target
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	ret
END plt_target

	.data
	.p2align 3
got:
	.quad	0, resolver, plt_push

// As vfork of a C library: the return address waits in rdi while the child uses the same stack. The exchange stands for the system
// call.
FUNC fork_stub
						// CFA=rsp+8 RA=[cfa-8]
	popq	%rdi				// CFA=rsp RA=rdi
	FIX(.cfi_def_cfa_offset 0; .cfi_register %rip, %rdi)
	movl	$58, %eax
	xchgl	%eax, %eax
	pushq	%rdi				// CFA=rsp+8 RA=[cfa-8]
	FIX(.cfi_def_cfa_offset 8; .cfi_offset %rip, -8)
	ret
END fork_stub

//@ build museum_invalid_cfi-defective: -DDEFECTIVE
//@ build museum_invalid_cfi-fixed:
// While the CFA is an expression, CFI names a new register for it (DW_CFA_def_cfa_register). That has no meaning, but assemblers
// take it. The fixed build names register and offset.
#include "guest.h"

FUNC guest_main
	pushq	%rbp
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	switches
	popq	%rbp
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC switches
	pushq	%rbp
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa %rbp, 16
	pushq	%rsp
	leaq	16(%rbp), %rax
	movq	%rax, (%rsp)			// CFA=[rsp]
	.cfi_escape 0x0f, 3, 0x77, 0, 6
	call	leaf
	addq	$8, %rsp			// CFA=rbp+16
#ifdef DEFECTIVE
	.cfi_def_cfa_register %rbp
#else
	.cfi_def_cfa %rbp, 16
#endif
	popq	%rbp
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END switches

FUNC leaf
	leaq	1(%rdi), %rax
	ret
END leaf

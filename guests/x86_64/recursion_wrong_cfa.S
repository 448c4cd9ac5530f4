// BROKEN ON PURPOSE. One function waits for itself, and at one instruction its row gives a CFA that is too high by a whole
// frame. The return address is right, and equal to that of the next activation, and so is the CFA: the walk names that
// activation twice and this one not at all. Only the CFAs tell the two apart, for all pcs are right.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	descend
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC descend
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	xorl	%eax, %eax
	.cfi_remember_state
	.cfi_def_cfa_offset 32; .cfi_offset %rbp, -32; .cfi_offset %rip, -24
	decl	%edi				// the CFA is rbp+16, and not rbp+32
	.cfi_restore_state
	jz	1f
	call	descend
1:	incl	%eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END descend

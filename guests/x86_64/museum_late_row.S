//@ build museum_late_row-defective: -DDEFECTIVE
//@ build museum_late_row-fixed:
// A loop whose sixth turn lowers rsp, once. The CFA is counted from rsp (defective) or from rbp (fixed), so that each row is right at
// the first five arrivals at its instruction. rust-lang/rust #83139 is of this shape, but wrong at once.
#include "guest.h"

FUNC guest_main
					// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp			// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp		// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	lowers_rsp_late
	popq	%rbp			// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC lowers_rsp_late
					// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp			// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp		// CFA=rbp+16
#ifndef DEFECTIVE
	.cfi_def_cfa %rbp, 16
#endif
	movl	$8, %ecx
1:	xorl	%eax, %eax
	cmpl	$3, %ecx
	sete	%al
	shll	$4, %eax
	subq	%rax, %rsp		// 16 lower in the sixth turn, and from then on
	decl	%ecx
	jnz	1b
	movq	%rbp, %rsp
	popq	%rbp			// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END lowers_rsp_late

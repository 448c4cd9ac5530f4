//@ build museum_inline_probe-defective: -DDEFECTIVE
//@ build museum_inline_probe-fixed:
// rust-lang/rust #83139 (LLVM bug 49600): a prologue touches each page of its large frame in a loop, so rsp moves with
// each turn. The defective build counts the CFA from rsp as at the entry until the loop is over; the fixed one counts
// from r11, which holds where rsp will end.
#include "guest.h"

#define FRAME	0x800
#define STEP	0x100

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	big
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC big
						// CFA=rsp+8 RA=[cfa-8]
	leaq	-FRAME(%rsp), %r11		// CFA=r11+0x808
#ifndef DEFECTIVE
	.cfi_def_cfa %r11, FRAME+8
#endif
1:	subq	$STEP, %rsp
	movq	$0, (%rsp)
	cmpq	%r11, %rsp
	jne	1b				// CFA=rsp+0x808 too, when it falls through
	.cfi_def_cfa %rsp, FRAME+8
	movq	%rdi, 8(%rsp)
	call	leaf
	addq	8(%rsp), %rax
	addq	$FRAME, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END big

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END leaf

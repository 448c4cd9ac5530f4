//@ build museum_probestack_no_rows-defective: -DDEFECTIVE
//@ build museum_probestack_no_rows-fixed:
// rust-lang/compiler-builtins #304 and #325: the function that a prologue calls to touch each page of a large frame
// moves rsp down and back. It is assembly, and the defective build has no unwind data for it; the frame pointer that
// #304 brought does not help a walk by rows. The instructions are the same in both builds.
#include "guest.h"

#define FRAME	0x800
#define STEP	0x200

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
	movl	$FRAME, %eax
	call	probestack
	subq	%rax, %rsp			// CFA=rsp+0x808
	.cfi_def_cfa_offset FRAME+8
	movq	%rdi, (%rsp)
	addq	$1, (%rsp)
	movq	(%rsp), %rdx
	addq	%rax, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	movq	%rdx, %rax
	ret
END big

// rax: the size of the caller's frame, which is kept.
#ifdef DEFECTIVE
	.macro ROW directive:vararg
	.endm
CODE probestack
#else
	.macro ROW directive:vararg
	\directive
	.endm
FUNC probestack
#endif
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	ROW .cfi_def_cfa_offset 16
	ROW .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	ROW .cfi_def_cfa %rbp, 16
	movq	%rax, %r11
1:	subq	$STEP, %rsp
	testq	%rsp, 8(%rsp)
	subq	$STEP, %r11
	ja	1b
	addq	%rax, %rsp
	popq	%rbp				// CFA=rsp+8
	ROW .cfi_def_cfa %rsp, 8
	ROW .cfi_restore %rbp
	ret
#ifdef DEFECTIVE
END_CODE probestack
#else
END probestack
#endif

// A function that aligns its frame to more than the ABI promises keeps its CFA in a register (GCC calls it the DRAP) and
// then in its frame: CFA=r10, and once r10 is on the stack CFA=[rbp-8], which only an expression can give. Called with both
// values of rsp mod 32, so that the distance from rbp to the CFA varies.
#include "guest.h"

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
	call	realigned
	movq	%rax, %rdi
	subq	$16, %rsp
	call	realigned
	addq	$16, %rsp
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

FUNC realigned
						// CFA=rsp+8 RA=[cfa-8]
	leaq	8(%rsp), %r10			// CFA=r10
	.cfi_def_cfa %r10, 0
	andq	$-32, %rsp
	pushq	-8(%r10)			// a copy of the return address, for walks that look next to rbp
	pushq	%rbp
	movq	%rsp, %rbp			// the caller's rbp: [rbp], at no fixed distance from the CFA
	.cfi_escape 0x10, 6, 2, 0x76, 0		// DW_CFA_expression rbp: breg6 0
	pushq	%r10				// CFA=[rbp-8]
	.cfi_escape 0x0f, 3, 0x76, 0x78, 6	// DW_CFA_def_cfa_expression: breg6 -8, deref
	subq	$40, %rsp
	call	leaf				// clobbers r10
	addq	$40, %rsp
	popq	%r10				// CFA=r10
	.cfi_def_cfa %r10, 0
	popq	%rbp
	.cfi_restore %rbp
	leaq	-8(%r10), %rsp			// CFA=rsp+8
	.cfi_def_cfa %rsp, 8
	ret
END realigned

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %r10
	addq	$7, %r10
	movq	%r10, %rax
	ret
END leaf

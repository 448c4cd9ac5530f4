//@ build museum_ret_n-defective: -DDEFECTIVE
//@ build museum_ret_n-fixed:
// A callee that takes its arguments off the stack (ret n), as JIT compilers' conventions for tail calls and Windows's stdcall have it:
// behind the call, rsp is higher than at it. The caller's CFA is counted from rsp, and its row behind the call forgets that (defective)
// or not (fixed). dotnet/coreclr #9366.
#include "guest.h"

FUNC guest_main
					// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp			// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp		// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	caller
	popq	%rbp			// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC caller
					// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx			// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	pushq	$5			// CFA=rsp+24
	.cfi_def_cfa_offset 24
	pushq	$6			// CFA=rsp+32
	.cfi_def_cfa_offset 32
	call	pops			// CFA=rsp+16
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 16
#endif
	movq	%rax, %rbx
	addq	$1, %rax
	popq	%rbx			// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END caller

FUNC pops
					// CFA=rsp+8 RA=[cfa-8]
	movq	8(%rsp), %rax
	addq	16(%rsp), %rax
	ret	$16
END pops

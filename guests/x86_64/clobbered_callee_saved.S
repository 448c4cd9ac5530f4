// BROKEN ON PURPOSE. `clobber` overwrites rbx without saving it on the stack: it keeps the old value in r11 and returns
// with the wrong one; `caller` restores it with the third instruction after the return. Every return address is in order,
// so no comparison of return addresses can detect it. The oracle's register witness must: rbx at the return of `clobber` is
// not what it was at the call. No other return of this guest is wrong.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$1, %edi
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
	pushq	%rbx
	.cfi_offset %rbx, -24
	subq	$8, %rsp			// aligns rsp
	movl	$7, %ebx
	call	clobber				// returns with the wrong rbx
	addq	$1, %rax
	shlq	$1, %rax
	movq	%r11, %rbx			// rbx is right again
	addq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	.cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

FUNC clobber
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
	movq	%rbx, %r11
	movl	$99, %ebx			// the fault: not saved, not restored
	addq	%rbx, %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END clobber

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END leaf

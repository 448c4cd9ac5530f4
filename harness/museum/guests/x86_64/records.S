//@ build records-defective: -DDEFECTIVE
//@ build records-fixed:
// Code that uses rbp for other things, or leaves the stack, so that a walk along frame records goes wrong. Each function is a bug of its
// own; museum/exhibits has the reports.
#include "pair.h"

STACK c, 0x1000

.macro ENTER
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
.endm

.macro LEAVE
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
.endm

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	jitted
	call	c_call
	LEAVE
END guest_main

// As a BPF JIT compiled a program: rbp is the program's stack pointer, which lies above its registers.
FUNC jitted
						// CFA=rsp+8 RA=[cfa-8]
#ifdef DEFECTIVE
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	subq	$0x68, %rsp			// CFA=rsp+0x78
	.cfi_def_cfa_offset 0x78
	leaq	0x40(%rsp), %rbp
	movq	$0, -8(%rbp)
	movq	$0, (%rbp)
	movq	$0, 8(%rbp)
	call	jit_helper
	addq	$0x68, %rsp			// CFA=rsp+16
	.cfi_def_cfa_offset 16
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
#else
	ENTER
	subq	$0x68, %rsp
	movq	$0, -8(%rbp)
	call	jit_helper
	addq	$0x68, %rsp
	LEAVE
#endif
END jitted

FUNC jit_helper
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$1, %eax
	LEAVE
END jit_helper

// From a runtime's stack to the one for C, and back. rbx, which C preserves, keeps the old rsp; no record leads there.
FUNC c_call
						// CFA=rsp+8 RA=[cfa-8]
#ifdef DEFECTIVE
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	movq	%rsp, %rbx			// CFA=rbx+16
	.cfi_def_cfa_register %rbx
	movq	__stack_c_high(%rip), %rsp
	call	c_function
	movq	%rbx, %rsp			// CFA=rsp+16
	.cfi_def_cfa_register %rsp
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
#else
	ENTER
	movq	__stack_c_high(%rip), %rsp
	call	c_function
	movq	%rbp, %rsp
	LEAVE
#endif
END c_call

FUNC c_function
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$1, %eax
	LEAVE
END c_function

// Another stack, as for a coroutine: the CFA of the function that switched stacks lies on the old one, which may be the
// lower one. `by_rbp` finds its CFA by rbp, `by_rbx` by a register that only the youngest frame has.
#include "guest.h"

STACK coroutine, 0x1000

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	by_rbp
	movq	%rax, %rdi
	call	by_rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC by_rbp
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movq	__stack_coroutine_high(%rip), %rsp
	call	work
	movq	%rbp, %rsp
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END by_rbp

FUNC by_rbx
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	movq	%rsp, %rbx			// CFA=rbx+16
	.cfi_def_cfa %rbx, 16
	movq	__stack_coroutine_high(%rip), %rsp
	call	work
	movq	%rbx, %rsp			// CFA=rsp+16
	.cfi_def_cfa %rsp, 16
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END by_rbx

FUNC work
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	leaq	7(%rdi), %rax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END work

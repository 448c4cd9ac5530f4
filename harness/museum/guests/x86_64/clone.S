//@ build clone-defective: -DDEFECTIVE
//@ build clone-fixed:
// A new thread begins in the stub that made it, on a stack of its own, with the registers of its parent. Changing the context stands for
// the system call. Two bugs: the stub's rows say that the child has a caller, too; and rbp leads back to the parent.
#include "pair.h"

STACK child, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
child_sp: .quad 0
	.popsection

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	// What the child's stack holds: rbp as its parent has it, where it begins, and its function
	movq	__stack_child_high(%rip), %rax
	subq	$32, %rax
	movq	%rbp, (%rax)
	leaq	clone_child(%rip), %rcx
	movq	%rcx, 8(%rax)
	leaq	child_main(%rip), %rcx
	movq	%rcx, 16(%rax)
	movq	%rax, child_sp(%rip)
	leaq	main_sp(%rip), %rdi
	leaq	child_sp(%rip), %rsi
	call	change_context
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC change_context
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, (%rdi)
	movq	(%rsi), %rsp			// the same of the other stack
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
END change_context

// The child's half of the stub.
FUNC clone_child
	FIX(.cfi_undefined %rip)
	FIX(xorl	%ebp, %ebp)
	popq	%rax
	movl	$0, %edi
	call	*%rax
	leaq	child_sp(%rip), %rdi
	leaq	main_sp(%rip), %rsi
	call	change_context
	ud2
END clone_child

FUNC child_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$1, %eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END child_main

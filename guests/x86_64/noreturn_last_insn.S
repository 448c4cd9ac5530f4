// A call that never returns may be a function's last instruction; its return address then lies after the function, and a
// walk must look up the byte before it. After `padded` comes padding without unwind data; after `flush` comes `bystander`,
// which has another frame.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	padded
	ud2					// not reached
END guest_main

FUNC padded
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rdi
	pushq	%rdi
	call	flush				// the last instruction
END padded

FUNC flush
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	subq	$32, %rsp
	movq	%rdi, 8(%rsp)
	nopl	(%rax)
	nopl	(%rax)
	nopl	(%rax)
	nopl	(%rax,%rax)
	nop
	call	stop				// the last instruction, 32 bytes from the first one
END flush

// Never runs.
FUNC bystander
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END bystander

FUNC stop
						// CFA=rsp+8 RA=[cfa-8]
	leaq	7(%rdi), %rax
	movq	%rax, %rcx
	jmp	__sentinel			// the run ends
END stop

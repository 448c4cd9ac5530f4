//@ start none
//@ build museum_rbp_scratch-defective: -DDEFECTIVE
//@ build museum_rbp_scratch-fixed:
// Linux d8c7fe9f2a48, one of a dozen such commits (crypto: x86/twofish-3way - Fix %rbp usage): a cipher that is short
// of registers keeps data in rbp between a push and a pop. Who interrupts it and walks along rbp follows the data. The
// fixed build links a record and has its data elsewhere; the instructions of both builds are as long as each other.
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$3, %edi
	call	caller
	LEAVE
END guest_main

FUNC caller
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	encrypt
	LEAVE
END caller

#define KEY	$0x9e3779b97f4a7c15

FUNC encrypt
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
#ifdef DEFECTIVE
	movq	%rdi, %rdx
	movabsq	KEY, %rbp			// data; rows do not need rbp
	xorq	%rdx, %rbp
	xorq	%rdx, %rbp
	leaq	(%rdi,%rbp), %rax
#else
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movabsq	KEY, %r11
	xorq	%rdi, %r11
	xorq	%rdi, %r11
	leaq	(%rdi,%r11), %rax
#endif
	LEAVE
END encrypt

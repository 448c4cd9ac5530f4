// The return address is in a register and not on the stack. `kept_in_rdx` pops it, calls a function (whose own return
// address overwrites the slot) and pushes it again; `returns_by_r11` pops it and returns with an indirect jump;
// `slot_is_scratch` does so too, and meanwhile keeps a number in the slot. None of the three has a frame record.
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
	call	kept_in_rdx
	leaq	1(%rax), %rdi
	call	returns_by_r11
	leaq	1(%rax), %rdi
	call	slot_is_scratch
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

FUNC kept_in_rdx
						// CFA=rsp+8 RA=[cfa-8]
	addq	$1, %rdi
	popq	%rdx				// CFA=rsp RA=rdx (a copy stays below rsp until something overwrites it)
	.cfi_def_cfa_offset 0; .cfi_register %rip, %rdx
	addq	$1, %rdi
	call	helper				// overwrites the slot
	addq	$2, %rax
	pushq	%rdx				// CFA=rsp+8 RA=[cfa-8]
	.cfi_def_cfa_offset 8; .cfi_offset %rip, -8
	addq	$3, %rax
	ret
END kept_in_rdx

FUNC returns_by_r11
						// CFA=rsp+8 RA=[cfa-8]
	popq	%r11				// CFA=rsp RA=r11 (a copy stays below rsp until something overwrites it)
	.cfi_def_cfa_offset 0; .cfi_register %rip, %r11
	addq	$1, %rdi
	call	helper				// overwrites the slot
	addq	$2, %rax
	jmp	*%r11				// a return
END returns_by_r11

FUNC slot_is_scratch
						// CFA=rsp+8 RA=[cfa-8]
	popq	%r11				// CFA=rsp RA=r11 (a copy stays below rsp until something overwrites it)
	.cfi_def_cfa_offset 0; .cfi_register %rip, %r11
	shlq	$4, %rdi
	pushq	%rdi				// CFA=rsp+8 RA=r11: a number where the return address was
	.cfi_def_cfa_offset 8
	addq	$1, %rdi
	xorq	%rdi, (%rsp)
	popq	%rax				// CFA=rsp
	.cfi_def_cfa_offset 0
	addq	$1, %rax
	jmp	*%r11				// a return
END slot_is_scratch

// Must touch neither rdx nor r11.
FUNC helper
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %rax
	xorq	$1, %rax
	addq	$4, %rax
	ret
END helper

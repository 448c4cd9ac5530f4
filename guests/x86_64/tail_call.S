// Tail calls in the shape of memset -> memset_generic: `fill` has no frame and jumps to `fill_generic`; `fill_framed` had a
// frame, removes it and then jumps. `fill_generic` returns straight to `caller`: until the jump, `fill` or `fill_framed`
// belongs in the trace; after it the function is rightly gone.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	caller
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// 32 bytes to fill below the record.
FUNC caller
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	subq	$32, %rsp
	movq	%rsp, %rdi
	movl	$0x11, %esi
	movl	$16, %edx
	call	fill
	movq	%rsp, %rdi
	movl	$0x22, %esi
	xorl	%edx, %edx
	call	fill				// nothing to fill: `fill` returns itself
	leaq	16(%rsp), %rdi
	movl	$0x33, %esi
	movl	$16, %edx
	call	fill_framed
	addq	$32, %rsp
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END caller

// rdi: address, rsi: value, rdx: bytes, a multiple of 8. Returns the address.
FUNC fill
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %rax
	testq	%rdx, %rdx
	je	1f
	jmp	fill_generic			// not a call: `fill` is gone
1:
	ret
END fill

// As `fill`, but makes a call first.
FUNC fill_framed
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	pushq	%rdi
	pushq	%rsi
	movq	%rdx, %rdi
	call	round_down
	movq	%rax, %rdx
	popq	%rsi
	popq	%rdi
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	jmp	fill_generic			// not a call: `fill_framed` is gone
END fill_framed

// rdi: bytes. Returns them, rounded down to a multiple of 8.
FUNC round_down
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %rax
	andq	$-8, %rax
	ret
END round_down

FUNC fill_generic
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %rax
1:
	movq	%rsi, (%rdi)
	addq	$8, %rdi
	subq	$8, %rdx
	jne	1b
	ret
END fill_generic

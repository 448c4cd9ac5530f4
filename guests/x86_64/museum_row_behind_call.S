//@ build museum_row_behind_call-defective: -DDEFECTIVE
//@ build museum_row_behind_call-fixed:
// libunwind #54: a call that does not return, and right behind it another block with another row. A walk that executes
// the CFI up to the return address takes that block's row for the call. Here no reader does that; instead the defective
// build writes the row behind the call one directive early, so that a right reader finds at the call what libunwind
// made of it.
#include "guest.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	hot
	movl	$0, %edi
	call	hot
	ud2					// not reached
END guest_main

FUNC hot
						// CFA=rsp+8 RA=[cfa-8]
	testq	%rdi, %rdi
	jz	.Lcold
.Lwarm:
	leaq	1(%rdi), %rax
	ret
.Lcold:
	.cfi_remember_state
	pushq	%rdi				// CFA=rsp+16
	.cfi_def_cfa_offset 16
	pushq	%rdi				// CFA=rsp+24
	.cfi_def_cfa_offset 24
#ifdef DEFECTIVE
	.cfi_restore_state
	call	stop
#else
	call	stop				// CFA=rsp+8: another block, entered by a jump
	.cfi_restore_state
#endif
	nop
	jmp	.Lwarm
END hot

FUNC stop
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	jmp	__sentinel			// the run ends
END stop

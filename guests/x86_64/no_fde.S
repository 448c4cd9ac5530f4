// Holes of three kinds in an SFrame section: functions that it does not list, one that is listed without a row, and one
// whose rows cannot be read. All but `bare` keep a frame record, so a walk that falls back to it where nothing is listed
// gets through; the CFI covers all of them.
#include "guest.h"
#include "sframe.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$3, %edi
	call	unlisted
	movq	%rax, %rdi
	call	without_row
	movq	%rax, %rdi
	call	corrupt
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

FUNC unlisted
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
	movq	%rax, %rdi
	call	bare
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END unlisted

FUNC without_row
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END without_row

FUNC corrupt
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	leaf
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END corrupt

// Not listed either, and without a frame record.
FUNC bare
						// CFA=rsp+8 RA=[cfa-8]
	subq	$8, %rsp			// CFA=rsp+16
	.cfi_def_cfa_offset 16
	call	leaf
	addq	$8, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END bare

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	7(%rdi), %rax
	ret
END leaf

	SFRAME 7
	SFRAME_FUNCTION _start, outermost
	SFRAME_FUNCTION guest_main, guest_main
	SFRAME_FUNCTION without_row, without_row
	SFRAME_FUNCTION corrupt, corrupt
	SFRAME_FUNCTION leaf, leaf
	SFRAME_ROWS
	SFRAME_ROWS_OF outermost, 1
	SFRAME_ROW_OUTERMOST 0
	SFRAME_ROWS_OF guest_main, 4
	SFRAME_ROW 0, 8
	SFRAME_ROW 1, 16, -16
	SFRAME_ROW_RBP 4, 16, -16
	SFRAME_ROW 31, 8
	SFRAME_ROWS_OF without_row, 0
	SFRAME_ROWS_OF corrupt, 1
	.byte	0, 0x63, 8			// a word size of 3, which does not exist
	SFRAME_ROWS_OF leaf, 1
	SFRAME_ROW 0, 8
	SFRAME_END

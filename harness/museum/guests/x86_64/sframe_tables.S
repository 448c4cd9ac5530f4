//@ build sframe_tables-defective: -DDEFECTIVE
//@ build sframe_tables-fixed:
// SFrame sections that assemblers and linkers made wrong, written by hand. The CFI is right in both builds. Each function is a bug of its
// own; museum/exhibits has the reports.
#include "pair.h"
#include "sframe.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	merged_row
	call	large_frame
	call	second_object
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// After a merged row the assembler takes the offset of the row before that one.
FUNC merged_row
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa_register %rbp
	movl	$1, %eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END merged_row

// An offset that does not fit into the row's field loses its upper half.
FUNC large_frame
						// CFA=rsp+8 RA=[cfa-8]
	subq	$0x108, %rsp			// CFA=rsp+0x110
	.cfi_def_cfa_offset 0x110
	movl	$1, (%rsp)
	movl	$1, %eax
	addq	$0x108, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END large_frame

// It comes from another object, whose section was put behind the first one, header and all.
FUNC second_object
						// CFA=rsp+8 RA=[cfa-8]
	movl	$2, %eax
	ret
END second_object

#ifdef DEFECTIVE
	SFRAME 12
#else
	SFRAME 13
#endif
	SFRAME_FUNCTION _start, outermost
	SFRAME_FUNCTION guest_main, guest_main
	SFRAME_FUNCTION merged_row, merged_row
	SFRAME_FUNCTION large_frame, large_frame
	FIX(SFRAME_FUNCTION second_object, second_object)
	SFRAME_ROWS
	SFRAME_ROWS_OF outermost, 1
	SFRAME_ROW_OUTERMOST 0
	SFRAME_ROWS_OF guest_main, 4
	SFRAME_ROW 0, 8
	SFRAME_ROW 1, 16, -16
	SFRAME_ROW_RBP 4, 16, -16
	SFRAME_ROW 20, 8
	SFRAME_ROWS_OF merged_row, 4
	SFRAME_ROW 0, 8
	SFRAME_ROW 1, 16, -16
	BUG(SFRAME_ROW_RBP 4, 8, -16)
	FIX(SFRAME_ROW_RBP 4, 16, -16)
	SFRAME_ROW 10, 8
	SFRAME_ROWS_OF large_frame, 3
	SFRAME_ROW 0, 8
	BUG(SFRAME_ROW 7, 0x10)
	FIX(.byte 7, 0x23; .2byte 0x110)	// an offset of two bytes
	SFRAME_ROW 26, 8
#ifndef DEFECTIVE
	SFRAME_ROWS_OF second_object, 1
	SFRAME_ROW 0, 8
#endif
	SFRAME_END

#ifdef DEFECTIVE
	.pushsection .sframe, "a"
	.2byte 0xdee2				// magic
	.byte 3, 0x5				// version; sorted, starts from their own field
	.byte 3, 0, -8, 0			// AMD64, no fixed FP, RA at CFA-8, no auxiliary header
	.4byte 1, 1, 8				// functions, rows, bytes of rows
	.4byte 0, 16
	.quad second_object - .
	.4byte second_object@SIZE, 0
	.2byte 1
	.byte 0, 0, 0
	SFRAME_ROW 0, 8
	.popsection
#endif

//@ build museum_own_eh_frame-defective: -DDEFECTIVE
//@ build museum_own_eh_frame-fixed:
//@ build museum_own_eh_frame-no_size: -DDEFECTIVE -DNO_SIZE
// Somebody's assembly with the assembler's default section for CFI, .eh_frame, beside the .debug_frame of start.S. A row of it is
// wrong in the defective build. Build `no_size` leaves out .size, as much assembly does.
#include "guest.h"
	.cfi_sections .eh_frame

#ifdef NO_SIZE
#define SIZE(name)
#else
#define SIZE(name)	.size name, . - name
#endif

	.text
	.globl	guest_main
	.type	guest_main, @function
guest_main:
	.cfi_startproc
	pushq	%rbp
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa %rbp, 16
	call	lowers
	popq	%rbp
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
	.cfi_endproc
	SIZE(guest_main)

	.globl	lowers
	.type	lowers, @function
lowers:
	.cfi_startproc
	subq	$24, %rsp
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 32
#endif
	movl	$1, %eax
	addq	$24, %rsp
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 8
#endif
	ret
	.cfi_endproc
	SIZE(lowers)

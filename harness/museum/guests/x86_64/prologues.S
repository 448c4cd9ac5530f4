//@ build prologues-defective: -DDEFECTIVE
//@ build prologues-fixed:
// Rows of prologues, bodies and epilogues that were wrong in released compilers and assembly. Each function is a bug of its own;
// the code is the same in both builds. museum/exhibits/05-prologue.toml has the reports.
#include "pair.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	xorl	%edi, %edi
	call	hoisted
	movl	$1, %edi
	call	hoisted
	call	push_mov
	call	async_push
	xorl	%edi, %edi
	call	mid_ret
	movl	$1, %edi
	call	mid_ret
	xorl	%edi, %edi
	call	early_ret
	movl	$1, %edi
	call	early_ret
	call	ret_below_sp
	xorl	%edi, %edi
	call	two_epilogues
	movl	$1, %edi
	call	two_epilogues
	call	not_rbp
	xorl	%edi, %edi
	call	one_point
	movl	$1, %edi
	call	one_point
	xorl	%edi, %edi
	call	slow_path
	movl	$1, %edi
	call	slow_path
	call	frame_base
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// Branch folding merged the release of the frame out of two branches into the block before them. The directives stayed behind.
FUNC hoisted
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rax				// CFA=rsp+16
	.cfi_def_cfa_offset 16
	movl	%edi, %ecx
	addq	$8, %rsp			// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8)
	testl	%ecx, %ecx
	je	1f
	BUG(.cfi_remember_state)
	BUG(.cfi_def_cfa_offset 8)
	movl	$1, %eax
	ret
	BUG(.cfi_restore_state)
1:	BUG(.cfi_def_cfa_offset 8)
	movl	$2, %eax
	ret
END hoisted

// The scheduler put an instruction between a push and its adjustment.
FUNC push_mov
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rax				// CFA=rsp+16
	FIX(.cfi_adjust_cfa_offset 8)
	movl	$7, %eax
	BUG(.cfi_adjust_cfa_offset 8)
	movl	%eax, (%rsp)
	popq	%rcx				// CFA=rsp+8
	.cfi_adjust_cfa_offset -8
	ret
END push_mov

// A context word is pushed below the frame record before rbp is set, and counts in no row.
FUNC async_push
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	pushq	%r14				// CFA=rsp+24
	FIX(.cfi_def_cfa_offset 24)
	leaq	8(%rsp), %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	movl	$1, %eax
	addq	$8, %rsp
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END async_push

// An epilogue in the middle of the function has no rows at all.
FUNC mid_ret
						// CFA=rsp+8 RA=[cfa-8]
	subq	$24, %rsp			// CFA=rsp+32
	.cfi_def_cfa_offset 32
	testl	%edi, %edi
	jne	1f
	FIX(.cfi_remember_state)
	addq	$24, %rsp			// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8)
	ret
	FIX(.cfi_restore_state)
1:	movl	%edi, 8(%rsp)			// CFA=rsp+32
	movl	8(%rsp), %eax
	addq	$24, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END mid_ret

// An early return has its rows, and they hold on behind it.
FUNC early_ret
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	movl	%edi, %ebx
	testl	%edi, %edi
	jne	1f
	FIX(.cfi_remember_state)
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
	FIX(.cfi_restore_state)
1:	leal	1(%rbx), %eax			// CFA=rsp+16
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END early_ret

// At the last instruction the caller's rbp is said to be in memory that is already below rsp.
FUNC ret_below_sp
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa_register %rbp
	movl	$1, %eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8
	FIX(.cfi_restore %rbp)
	ret
END ret_below_sp

// Two epilogues: the second one counts on from where the first has ended, down to a CFA below rsp.
FUNC two_epilogues
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_adjust_cfa_offset 8; .cfi_offset %rbx, -16
	pushq	%r12				// CFA=rsp+24
	.cfi_adjust_cfa_offset 8; .cfi_offset %r12, -24
	subq	$24, %rsp			// CFA=rsp+48
	.cfi_adjust_cfa_offset 24
	leaq	two_epilogues_target(%rip), %rax
	testl	%edi, %edi
	jne	1f
	FIX(.cfi_remember_state)
	addq	$24, %rsp			// CFA=rsp+24
	.cfi_def_cfa_offset 24
	popq	%r12				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %r12
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
	FIX(.cfi_restore_state)
1:	addq	$24, %rsp			// CFA=rsp+24
	FIX(.cfi_def_cfa_offset 24)
	BUG(.cfi_escape 0x13, 2)		// DW_CFA_def_cfa_offset_sf: -16
	popq	%r12				// CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	BUG(.cfi_escape 0x13, 3)		// -24
	.cfi_restore %r12
	popq	%rbx				// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8)
	BUG(.cfi_escape 0x13, 4)		// -32
	.cfi_restore %rbx
	jmp	*%rax
END two_epilogues

FUNC two_epilogues_target
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	ret
END two_epilogues_target

// A helper without a frame record begins with the rows of one.
FUNC not_rbp
						// CFA=rsp+8 RA=[cfa-8]
	BUG(.cfi_def_cfa %rbp, 16)
	BUG(.cfi_offset %rbp, -16)
	subq	$8, %rsp			// CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	movl	$1, %eax
	addq	$8, %rsp			// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8)
	ret
END not_rbp

// A shortcut releases a part of the frame and jumps to the shared end; its jump has the body's row.
FUNC one_point
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_adjust_cfa_offset 8; .cfi_offset %rbx, -16
	subq	$32, %rsp			// CFA=rsp+48
	.cfi_adjust_cfa_offset 32
	movl	$1, %eax
	testl	%edi, %edi
	jne	1f
	leaq	32(%rsp), %rsp			// CFA=rsp+16
	FIX(.cfi_remember_state)
	FIX(.cfi_def_cfa_offset 16)
	jmp	2f
	FIX(.cfi_restore_state)
1:	movq	%rax, (%rsp)			// CFA=rsp+48
	addq	$32, %rsp			// CFA=rsp+16
	.cfi_def_cfa_offset 16
2:	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END one_point

// The slow path stands behind the last ret. It has the frame of the body, and the row of that ret.
FUNC slow_path
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_adjust_cfa_offset 8; .cfi_offset %rbx, -16
	pushq	%rbp				// CFA=rsp+24
	.cfi_adjust_cfa_offset 8; .cfi_offset %rbp, -24
	movq	%rsp, %rbp			// CFA=rbp+24
	.cfi_def_cfa_register %rbp
	andq	$-64, %rsp
	testl	%edi, %edi
	jne	1f
	movl	$1, %eax
2:	movq	%rbp, %rsp			// CFA=rsp+24
	FIX(.cfi_remember_state)
	.cfi_def_cfa_register %rsp
	popq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %rbp
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
	FIX(.cfi_restore_state)
1:	movl	$2, %eax			// CFA=rbp+24
	movl	%eax, -4(%rsp)
	jmp	2b
END slow_path

// What sets the frame's base ends the recognition of the prologue, so that the frame itself counts in no row.
FUNC frame_base
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	subq	$32, %rsp			// CFA=rsp+48
	FIX(.cfi_def_cfa_offset 48)
	movl	$1, (%rsp)
	movl	(%rsp), %eax
	addq	$32, %rsp			// CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
END frame_base

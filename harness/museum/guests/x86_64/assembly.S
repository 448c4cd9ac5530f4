//@ build assembly-defective: -DDEFECTIVE
//@ build assembly-fixed:
// Hand-written assembly with wrong rows or none: ciphers, call stubs, entry stubs, code of JIT compilers. Each function is a bug of
// its own; museum/exhibits has the reports.
#include "pair.h"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
	call	no_table
	call	wrong_register
	call	temporary
	call	epilogue
	call	six_of_seven
	movl	$8, %edi
	call	beside_tail
	movl	$1, %edi
	call	beside_tail
	call	no_record
	call	shim
	call	wrong_sign
	call	endbr
	call	mid_push
	call	poll
	xorl	%edi, %edi
	call	restored
	movl	$1, %edi
	call	restored
	call	early_start
	call	patched
	call	sets_x
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END guest_main

// A trivial function: nobody gave it a table.
#ifdef DEFECTIVE
CODE no_table
#else
FUNC no_table
#endif
						// CFA=rsp+8 RA=[cfa-8]
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	ret
	FIX(.cfi_endproc)
END_CODE no_table

// A tester's own mistake: two saved registers are said to be in each other's place.
FUNC wrong_register
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16
	BUG(.cfi_offset %r12, -16)
	FIX(.cfi_offset %rbx, -16)
	pushq	%r12				// CFA=rsp+24
	.cfi_def_cfa_offset 24
	BUG(.cfi_offset %rbx, -24)
	FIX(.cfi_offset %r12, -24)
	movl	$1, %ebx
	movl	$2, %r12d
	leaq	(%rbx,%r12), %rax
	popq	%r12				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %r12
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END wrong_register

// Another one: the saved value is changed for a few instructions and then put right again.
FUNC temporary
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%r12				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %r12, -16
	movq	$3, %r12
	BUG(incq	(%rsp))
	movq	%r12, %rax
	BUG(decq	(%rsp))
	popq	%r12				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %r12
	ret
END temporary

// And the third: the epilogue has no row.
FUNC epilogue
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%r12				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %r12, -16
	movq	$3, %r12
	popq	%r12				// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8; .cfi_restore %r12)
	movl	$1, %eax
	ret
END epilogue

// Seven registers are pushed, and six are counted.
FUNC six_of_seven
						// CFA=rsp+8 RA=[cfa-8]
	.irp	register, rbp, rbx, r12, r13, r14, r15
	pushq	%\register
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %\register, 0
	.endr
	pushq	%r9				// CFA=rsp+64
	FIX(.cfi_adjust_cfa_offset 8)
	subq	$32, %rsp			// CFA=rsp+96
	.cfi_adjust_cfa_offset 32
	movl	$1, (%rsp)
	movl	(%rsp), %eax
	addq	$32, %rsp			// CFA=rsp+64
	.cfi_adjust_cfa_offset -32
	popq	%r9				// CFA=rsp+56
	FIX(.cfi_adjust_cfa_offset -8)
	.irp	register, r15, r14, r13, r12, rbx, rbp
	popq	%\register
	.cfi_adjust_cfa_offset -8
	.cfi_restore %\register
	.endr
	ret
END six_of_seven

// A branch out of the short path lands beside a tail that has another depth: two instructions have the other path's row.
FUNC beside_tail
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	pushq	%rbx				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_offset %rbx, -24
	movl	$4, %ebx
	cmpl	$4, %edi
	jb	1f
	subq	$40, %rsp			// CFA=rsp+64
	FIX(.cfi_remember_state)
	.cfi_def_cfa_offset 64
	movl	%edi, (%rsp)
	addq	$40, %rsp			// CFA=rsp+24
	.cfi_def_cfa_offset 24
	popq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
	FIX(.cfi_restore_state)
1:	movl	%ebx, %eax			// CFA=rsp+24
	popq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	jmp	beside_tail_target
END beside_tail

FUNC beside_tail_target
						// CFA=rsp+8 RA=[cfa-8]
	addl	$1, %eax
	ret
END beside_tail_target

// The rows count from rbp, which the code has saved but uses for data.
FUNC no_record
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movl	$0x1000, %ebp
	BUG(.cfi_def_cfa_register %rbp)
	leal	8(%rbp), %eax
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
END no_record

// A shim for a library that is loaded late: it saves what the target may need around the call of its resolver.
FUNC shim
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rdi				// CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	pushq	%rsi				// CFA=rsp+24
	FIX(.cfi_def_cfa_offset 24)
	call	shim_resolve
	popq	%rsi				// CFA=rsp+16
	FIX(.cfi_def_cfa_offset 16)
	popq	%rdi				// CFA=rsp+8
	FIX(.cfi_def_cfa_offset 8)
	jmp	*%rax
END shim

FUNC shim_resolve
						// CFA=rsp+8 RA=[cfa-8]
	leaq	shim_target(%rip), %rax
	ret
END shim_resolve

FUNC shim_target
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	ret
END shim_target

// The adjustment for a push has the wrong sign.
FUNC wrong_sign
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rax				// CFA=rsp+16
	BUG(.cfi_def_cfa_offset 0)
	FIX(.cfi_def_cfa_offset 16)
	movl	$1, %eax
	popq	%rcx				// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END wrong_sign

// The landing pad of indirect branches stands between the label and the start of what is described.
CODE endbr
						// CFA=rsp+8 RA=[cfa-8]
	FIX(.cfi_startproc)
	endbr64
	BUG(.cfi_startproc)
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	movl	$1, %eax
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
	.cfi_endproc
END_CODE endbr

// Compiled code whose frame has one size from its entry to its end, and which pushes a register for a while.
FUNC mid_push
						// CFA=rsp+8 RA=[cfa-8]
	subq	$24, %rsp			// CFA=rsp+32
	.cfi_def_cfa_offset 32
	movl	$1, %eax
	pushq	%rax				// CFA=rsp+40
	FIX(.cfi_def_cfa_offset 40)
	leal	2(%rax), %eax
	addl	(%rsp), %eax
	popq	%rcx				// CFA=rsp+32
	FIX(.cfi_def_cfa_offset 32)
	addq	$24, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END mid_push

// An epilogue that polls for a safepoint before it returns.
FUNC poll
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa_register %rbp
	subq	$16, %rsp
	movl	$1, %eax
	addq	$16, %rsp
	popq	%rbp				// CFA=rsp+8
	FIX(.cfi_def_cfa %rsp, 8; .cfi_restore %rbp)
	testl	%eax, polling_word(%rip)
	ret
END poll

	.data
polling_word:
	.quad	0

// Rows that were made from the instructions, linearly: on the branch's other side a register that is restored already is still said
// to be in memory.
FUNC restored
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbx, -16
	pushq	%r12				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_offset %r12, -24
	movl	$1, %ebx
	movl	$2, %r12d
	movl	%r12d, %eax
	popq	%r12				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %r12
	testl	%edi, %edi
	.cfi_remember_state
	je	1f
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
	.cfi_restore_state
1:	BUG(.cfi_offset %r12, -24)
	addl	%ebx, %eax			// CFA=rsp+16
	popq	%rbx				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbx
	ret
END restored

// The entry in the table begins at the padding before the label, and the distances in it, written by hand, count from the label:
// 1 byte on, the CFA's offset is 16 and rbx is at CFA-16; 6 bytes on, it is 8 and rbx is restored.
.macro EARLY_START_ROWS
	.cfi_escape 0x41, 0x0e, 16, 0x83, 2, 0x46, 0x0e, 8, 0xc3
.endm
	.text
	.p2align 4
#ifdef DEFECTIVE
	.cfi_startproc
	EARLY_START_ROWS
#endif
	.nops	4, 1
	.globl early_start
	.type early_start, %function
early_start:
#ifndef DEFECTIVE
	.cfi_startproc
	EARLY_START_ROWS
#endif
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbx				// CFA=rsp+16
	movl	$1, %eax
	popq	%rbx				// CFA=rsp+8
	ret
	.cfi_endproc
	.size early_start, . - early_start

// A debugger has replaced an instruction by a jump into a stub, in which the return address is not at rsp.
FUNC patched
						// CFA=rsp+8 RA=[cfa-8]
	subq	$24, %rsp			// CFA=rsp+32
	.cfi_def_cfa_offset 32
	movl	$1, %eax
	jmp	patch_stub
	.globl	patched_back
	.type	patched_back, %notype
patched_back:
	addq	$24, %rsp			// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END patched

#ifdef DEFECTIVE
CODE patch_stub
#else
FUNC patch_stub
	.cfi_def_cfa_offset 32
#endif
						// CFA=rsp+32 RA=[cfa-8]
	movq	%rax, 8(%rsp)
	leal	1(%rax), %eax
	jmp	patched_back
	FIX(.cfi_endproc)
END_CODE patch_stub

// Key expansion: the start and the end of what is described are missing, but not the function.
#ifdef DEFECTIVE
CODE sets_x
#else
FUNC sets_x
#endif
						// CFA=rsp+8 RA=[cfa-8]
	subq	$8, %rsp			// CFA=rsp+16
	FIX(.cfi_adjust_cfa_offset 8)
	call	sets_x_round
	addq	$8, %rsp			// CFA=rsp+8
	FIX(.cfi_adjust_cfa_offset -8)
	ret
	FIX(.cfi_endproc)
END_CODE sets_x

FUNC sets_x_round
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	ret
END sets_x_round

// Two fibers beside the main stack: they switch among themselves, resume where they waited, and go deeper between. One calls a
// function on a stack that is nobody's, which is no switch of fibers.
#include "guest.h"

STACK a, 0x1000
STACK b, 0x1000
STACK shared, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
a_sp: .quad 0
b_sp: .quad 0
	.popsection

// SWITCH from, to: the running fiber's context goes to the word `from`, and the one in the word `to` runs.
.macro SWITCH from, to
	leaq	\from(%rip), %rdi
	leaq	\to(%rip), %rsi
	call	switch_to
.endm

// NEW fiber, entry: its context, so that it begins in `entry`, with rbp zero.
.macro NEW fiber, entry
	movq	__stack_\fiber\()_high(%rip), %rax
	subq	$32, %rax
	leaq	\entry(%rip), %rcx
	movq	%rcx, 16(%rax)
	movq	$0, 8(%rax)
	movq	$0, (%rax)
	movq	%rax, \fiber\()_sp(%rip)
.endm

// At the entry CFA=rsp+8 RA=[cfa-8].
.macro ENTER
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
.endm

.macro LEAVE
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
	ret
.endm

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	NEW	a, a_main
	NEW	b, b_main
	SWITCH	main_sp, a_sp
	call	leaf
	SWITCH	main_sp, b_sp
	LEAVE
END guest_main

// Keeps rbp and rbx.
FUNC switch_to
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	pushq	%rbx				// CFA=rsp+24
	.cfi_def_cfa_offset 24; .cfi_offset %rbx, -24
	movq	%rsp, (%rdi)
	movq	(%rsi), %rsp			// the same of the other stack
	popq	%rbx				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_restore %rbx
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa_offset 8; .cfi_restore %rbp
	ret
END switch_to

FUNC a_main
	.cfi_undefined %rip			// the fiber's first function
	.cfi_def_cfa_offset 0			// CFA=rsp: no call has pushed anything
	pushq	$0				// CFA=rsp+8
	.cfi_def_cfa_offset 8
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	call	a_deeper
	SWITCH	a_sp, b_sp
	ud2
END a_main

FUNC a_deeper
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SWITCH	a_sp, b_sp
	call	leaf
	LEAVE
END a_deeper

FUNC b_main
	.cfi_undefined %rip			// the fiber's first function
	.cfi_def_cfa_offset 0			// CFA=rsp: no call has pushed anything
	pushq	$0				// CFA=rsp+8
	.cfi_def_cfa_offset 8
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp
	call	on_shared
	SWITCH	b_sp, main_sp
	SWITCH	b_sp, a_sp
	SWITCH	b_sp, main_sp
	ud2
END b_main

// Calls leaf on a stack that belongs to no fiber.
FUNC on_shared
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	__stack_shared_high(%rip), %rsp
	call	leaf
	movq	%rbp, %rsp
	LEAVE
END on_shared

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	movl	$1, %eax
	ret
END leaf

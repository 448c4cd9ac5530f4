// A plain chain, six deep: the scenario overwrites words of the stack at a walk, and the walk has to end, in bounds.
//@ start none
//@ build corrupt_stack: -DUNWINDER_FRAME_POINTER
//@ build corrupt_stack-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$1, %edi
	call	one
	LEAVE
END guest_main

.macro LINK name, next
FUNC \name
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	incq	%rdi
	call	\next
	subq	$1, %rax
	LEAVE
END \name
.endm

LINK one, two
LINK two, three
LINK three, four
LINK four, five
LINK five, leaf

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	xorq	$2, %rax
	ret
END leaf

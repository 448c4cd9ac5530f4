// Chains of calls that fit live patching's buffer of 100 entries and chains that do not: the task sleeps below 80 calls,
// and below 110.
//@ start none
//@ build buffer_full: -DUNWINDER_FRAME_POINTER
//@ build buffer_full-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$80, %edi
	call	recurse
	movl	$110, %edi
	call	recurse
	LEAVE
END guest_main

FUNC recurse
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	testq	%rdi, %rdi
	jz	.Ldeep_enough
	decq	%rdi
	call	recurse
	incq	%rax
	jmp	.Lback
.Ldeep_enough:
	call	schedule			// sleeps here
.Lback:
	LEAVE
END recurse

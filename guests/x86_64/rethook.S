//@ start none
//@ build rethook: -DUNWINDER_FRAME_POINTER
//@ build rethook-orc: -DUNWINDER_ORC
// Functions whose return is hooked by a rethook, one called by the other. The task can be switched out when the node is
// unlinked and the slot holds the original address again.
#define FTRACE_CALLBACK		rethook_hook
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_rethook.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	hooked
	LEAVE
END parent

TRACED hooked
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	hooked_inner
	LEAVE
END hooked

TRACED hooked_inner
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	1(%rdi), %rax
	movq	$1, need_resched(%rip)
	LEAVE
END hooked_inner

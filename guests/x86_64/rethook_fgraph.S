//@ start none
//@ build rethook_fgraph-rethook_first: -DUNWINDER_ORC
//@ build rethook_fgraph-fgraph_first: -DUNWINDER_ORC -DFGRAPH_FIRST
//@ build rethook_fgraph-no_padding: -DUNWINDER_ORC -DFGRAPH_FIRST -DNO_PADDING -DFRAMELESS
//@ build rethook_fgraph-fp-rethook_first: -DUNWINDER_FRAME_POINTER
//@ build rethook_fgraph-fp-fgraph_first: -DUNWINDER_FRAME_POINTER -DFGRAPH_FIRST
// A rethook and the function graph tracer on the same call: whichever hooks second takes the first one's trampoline for the
// return address. The function sleeps, and so do both handlers that run at its return, where they release the CPU.
#define FTRACE_CALLBACK		both_func
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
#ifdef FRAMELESS
	call	wrapper
#else
	call	traced
#endif
	LEAVE
END parent

#ifdef FRAMELESS
// Keeps nothing on the stack: above the slot of its call lies its own return address.
FUNC wrapper
						// CFA=rsp+8 RA=[cfa-8]
	call	traced
	incq	%rax
	ret
END wrapper
#endif

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	movq	$1, need_resched(%rip)
	LEAVE
END traced

// rdi: the function, rcx: struct ftrace_regs.
FUNC both_func
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rcx, %rbx
#ifdef FGRAPH_FIRST
	call	ftrace_graph_func
	movq	%rbx, %rcx
	call	rethook_hook
#else
	pushq	%rdi
	RSP_LOWER 8
	call	rethook_hook
	popq	%rdi
	RSP_LOWER -8
	movq	%rbx, %rcx
	call	ftrace_graph_func
#endif
	RESTORE	%rbx
	LEAVE
END both_func

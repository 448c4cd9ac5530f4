//@ start none
//@ build klp_redirect: -DUNWINDER_FRAME_POINTER
//@ build klp_redirect-orc: -DUNWINDER_ORC
// A live-patched function: the handler of its call to ftrace_caller stores the replacement's address where ftrace_caller
// will continue, and releases its lock. A task that is switched out after that will never run the old function again, but
// resumes in the new one. The label redirect_call and the two words are for the harness (guests/KERNEL.md).
#define FTRACE_CALLBACK		klp_ftrace_handler
#include "kernel.S"
#include "kernel_fgraph.S"

WORD __redirect_from				// where the redirected call was to continue
WORD __redirect_to				// and where it will

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
	movq	$1, need_resched(%rip)
	call	old_function
	LEAVE
END parent

TRACED old_function
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax			// never runs
	ret
END old_function

FUNC new_function
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	2(%rdi), %rax
	LEAVE
END new_function

// rcx: struct ftrace_regs.
	.globl	redirect_call
FUNC klp_ftrace_handler
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	RECURSION_TRYLOCK %rbx, .Lbusy
	movq	FREGS_RIP(%rcx), %rax
	movq	%rax, __redirect_from(%rip)
	leaq	new_function(%rip), %rax
	movq	%rax, __redirect_to(%rip)
	movq	%rax, FREGS_RIP(%rcx)		// from here on old_function will not resume
redirect_call:
	RECURSION_UNLOCK %rbx
.Lbusy:
	RESTORE	%rbx
	LEAVE
END klp_ftrace_handler

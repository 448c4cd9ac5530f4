//@ start none
//@ build fgraph_data-F0: -DUNWINDER_ORC -DDESIGN=0 -DTRACERS=2 -DEXIT_CALLBACK=traced_callee
//@ build fgraph_data-fp-F0: -DUNWINDER_FRAME_POINTER -DDESIGN=0 -DTRACERS=2 -DEXIT_CALLBACK=traced_callee
//@ build fgraph_data-F3: -DUNWINDER_ORC -DDESIGN=3 -DTRACERS=2 -DEXIT_CALLBACK=traced_callee
// Two tracers, each with data words of its own above an entry, and control words between them. At a return each calls a
// function that is itself traced: the recursion lock keeps it off the ret_stack. The task is switched out where the lock is
// released.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	$2, tracer_data_words(%rip)
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	traced
	LEAVE
END parent

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	traced_inner
	LEAVE
END traced

TRACED traced_inner
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END traced_inner

// What the tracers call at a return.
TRACED traced_callee
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	$1, need_resched(%rip)
	LEAVE
END traced_callee

//@ start none
//@ build fgraph_nested-F0: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph_nested-fp-F0: -DUNWINDER_FRAME_POINTER -DDESIGN=0
//@ build fgraph_nested-F3: -DUNWINDER_ORC -DDESIGN=3
//@ build fgraph_nested-fp-F3: -DUNWINDER_FRAME_POINTER -DDESIGN=3
//@ build fgraph_nested-F4: -DUNWINDER_FRAME_POINTER -DDESIGN=4
// Several entries on the ret_stack at once: traced functions that call traced functions, with data words of the tracer
// between the entries; a traced function that jumps to itself and to another, so that entries have the same slot and keep
// the trampoline's own address.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	$2, tracer_data_words(%rip)
	call	nested
	call	tailing
	LEAVE
END guest_main

FUNC nested
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	outer
	LEAVE
END nested

TRACED outer
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	middle
	LEAVE
END outer

TRACED middle
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	inner
	movq	$1, need_resched(%rip)		// the next unlock of the tracer lets the checker run
	LEAVE
END middle

TRACED inner
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	$1, need_resched(%rip)
	LEAVE
END inner

FUNC tailing
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$2, %edi
	call	countdown
	LEAVE
END tailing

// rdi: how often it jumps to itself.
TRACED countdown
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	subq	$1, %rdi
	UNLINK
	jnz	countdown
	jmp	inner
END countdown

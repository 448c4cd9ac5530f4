//@ start none
//@ build fgraph_irq_traced-F0: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph_irq_traced-fp-F0: -DUNWINDER_FRAME_POINTER -DDESIGN=0
//@ build fgraph_irq_traced_by8-F0: -DUNWINDER_ORC -DDESIGN=0 -DBY8
//@ build fgraph_irq_traced-F3: -DUNWINDER_ORC -DDESIGN=3 -DBY8
//@ build fgraph_irq_traced-F4: -DUNWINDER_FRAME_POINTER -DDESIGN=4 -DBY8
// The interrupt's handler is traced as well: it pushes an entry on the same ret_stack, over what lies above the index.
#define IRQ_TRACED
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER					// rsp is 8 mod 16
#ifndef BY8
	ALLOC	8
#endif
	movl	$5, %edi
	call	traced
#ifndef BY8
	FREE	8
#endif
	LEAVE
END parent

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	(%rdi,%rdi), %rax
	LEAVE
END traced

// rdi: pt_regs. What the handler calls: the walk starts in here, after a hooked return address on the IRQ stack.
TRACED traced_handler
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	walk_here
	LEAVE
END traced_handler

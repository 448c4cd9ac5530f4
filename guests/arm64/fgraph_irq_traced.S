//@ start none
//@ build fgraph_irq_traced-F0: -DDESIGN=0
//@ build fgraph_irq_traced-F3: -DDESIGN=3
//@ build fgraph_irq_traced-F4: -DDESIGN=4
//@ build fgraph_irq_traced-F5: -DDESIGN=5
//@ build fgraph_irq_return-F0: -DDESIGN=0 -DONE_RETURN
//@ build fgraph_irq_return-F3: -DDESIGN=3 -DONE_RETURN
//@ build fgraph_irq_return-F4: -DDESIGN=4 -DONE_RETURN
//@ build fgraph_irq_return-F5: -DDESIGN=5 -DONE_RETURN
// An interrupt whose handler is traced, while a traced function is entered or left: its entries go where the interrupted
// tracer is about to push one, or has just popped one. When the backtrace is taken, the handler's first traced call is
// over, and what it wrote lies above the index; the second is still active. With ONE_RETURN there is only the second.
#define PREEMPT_COUNT
#define IRQ_ACTION	irq_work
#include "kernel.S"
#include "kernel_fgraph.S"

// x0: pt_regs.
TRACED irq_work
	ENTER	32						// RA is the trampoline's address
	str	x19, [sp, #16]
	.cfi_offset x19, -16
#ifndef ONE_RETURN
	mov	x19, x0
	bl	traced_leaf
	mov	x0, x19
#endif
	bl	handle
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END irq_work

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	bl	traced
	LEAVE
END parent

TRACED traced
	ENTER						// RA is the trampoline's address
	bl	traced_leaf
	LEAVE
END traced

TRACED traced_leaf
	eor	x0, x0, #7
	ret
END traced_leaf

//@ start none
//@ build fgraph-F0: -DDESIGN=0
//@ build fgraph-undefined: -DDESIGN=0 -DUNDEFINED_RA
//@ build fgraph-F2: -DDESIGN=2
//@ build fgraph-F3: -DDESIGN=3
//@ build fgraph-F4: -DDESIGN=4
//@ build fgraph-F5: -DDESIGN=5
//@ build fgraph_voluntary-F0: -DDESIGN=0 -DFGRAPH_RESCHED
//@ build fgraph_voluntary-undefined: -DDESIGN=0 -DFGRAPH_RESCHED -DUNDEFINED_RA
//@ build fgraph_voluntary-F3: -DDESIGN=3 -DFGRAPH_RESCHED
//@ build fgraph_voluntary-F4: -DDESIGN=4 -DFGRAPH_RESCHED
//@ build fgraph_voluntary-F5: -DDESIGN=5 -DFGRAPH_RESCHED
//@ build fgraph_sdei-F0: -DDESIGN=0 -DSDEI
//@ build fgraph_sdei-F3: -DDESIGN=3 -DSDEI
//@ build fgraph_sdei-F4: -DDESIGN=4 -DSDEI
//@ build fgraph_sdei-F5: -DDESIGN=5 -DSDEI
// The function graph tracer: two traced functions whose return addresses it replaces, one with a frame record and one
// without. While a return is traced, the original address moves from the ret_stack through registers into the link
// register.
#define PREEMPT_COUNT
#include "kernel.S"
#ifdef SDEI
#include "kernel_sdei.S"
#endif
#include "kernel_fgraph.S"

#include "guest_main.S"

// The function that a walk from the wrong place leaves out.
FUNC parent
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, #5
	mov	x0, x19
	bl	traced
	add	x0, x0, x19
	bl	traced_leaf
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END parent

TRACED traced
	ENTER						// RA is the trampoline's address
	bl	leaf
	LEAVE
END traced

TRACED traced_leaf
	eor	x0, x0, #7
	ret
END traced_leaf

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf

//@ start none
//@ build fgraph_irq_traced:
//@ build fgraph_irq_traced-metadata: -DMETADATA
//@ build fgraph_irq_traced-F3: -DMETADATA -DDESIGN=3
//@ build fgraph_irq_traced-F4: -DMETADATA -DDESIGN=4
//@ build fgraph_irq_traced-F5: -DMETADATA -DDESIGN=5
// The interrupt's handler is traced as well: it pushes an entry on the same ret_stack, over what lies above the index.
#define FGRAPH
#define IRQ_TRACED
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	parent
	LEAVE	16
END guest_main

FUNC parent
						// CFA=sp RA=ra
	ENTER	16
	li	a0, 5
	call	traced
	LEAVE	16
END parent

TRACED traced
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	LEAVE	16
END traced

// a0: pt_regs. What the handler calls: the walk starts in here, after a hooked return address on the IRQ stack.
TRACED traced_handler
						// CFA=sp RA=ra
	ENTER	16
	call	walk_here
	LEAVE	16
END traced_handler

//@ start none
//@ build fgraph_nested-metadata: -DMETADATA
//@ build fgraph_nested-F3: -DMETADATA -DDESIGN=3
//@ build fgraph_nested-F4: -DMETADATA -DDESIGN=4
//@ build fgraph_nested-F5: -DMETADATA -DDESIGN=5
// Several entries on the ret_stack at once: traced functions that call traced functions, with data words of the tracer
// between the entries; a traced function that jumps to itself and to another, so that entries have the same frame pointer
// and keep the trampoline's own address.
#define FGRAPH
#define FGRAPH_DATA	2
#include "kernel.S"
#include "kernel_fgraph.S"

// The next unlock of the tracer lets the checker run.
.macro RESCHED
	lla	t3, need_resched
	li	t4, 1
	sd	t4, 0(t3)
.endm

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	nested
	call	tailing
	LEAVE	16
END guest_main

FUNC nested
						// CFA=sp RA=ra
	ENTER	16
	call	outer
	LEAVE	16
END nested

TRACED outer
						// CFA=sp RA=ra
	ENTER	16
	call	middle
	LEAVE	16
END outer

TRACED middle
						// CFA=sp RA=ra
	ENTER	16
	call	inner
	RESCHED
	LEAVE	16
END middle

TRACED inner
						// CFA=sp RA=ra
	ENTER	16
	RESCHED
	LEAVE	16
END inner

FUNC tailing
						// CFA=sp RA=ra
	ENTER	16
	li	a0, 2
	call	countdown
	LEAVE	16
END tailing

// a0: how often it jumps to itself.
TRACED countdown
						// CFA=sp RA=ra
	ENTER	16
	addi	a0, a0, -1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	bnez	a0, countdown
	tail	inner
END countdown

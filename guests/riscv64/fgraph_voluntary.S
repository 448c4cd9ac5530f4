//@ start none
//@ build fgraph_voluntary:
//@ build fgraph_voluntary-metadata: -DMETADATA
//@ build fgraph_voluntary-F3: -DMETADATA -DDESIGN=3
//@ build fgraph_voluntary-F4: -DMETADATA -DDESIGN=4
//@ build fgraph_voluntary-F5: -DMETADATA -DDESIGN=5
//@ build fgraph_voluntary-entry: -DMETADATA -DENTRY
//@ build fgraph_voluntary-entry-records: -DMETADATA -DENTRY -DRECORDS
// The task is switched out where the tracer releases its recursion lock, with no pt_regs on its stack: at the returns of a
// function with a frame record and of a leaf without; with ENTRY, at their entries.
#define FGRAPH
#define KTHREAD		insistent_checker
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_resched.S"

.macro RESCHED_AT_ENTRY
#ifdef ENTRY
	RESCHED	1
#endif
.endm

// DESIGN 4 and 5 have a second unlock: that of ftrace_graph_pop, which pops the entry.
.macro RESCHED_AT_RETURN
#ifndef ENTRY
	RESCHED	2
#endif
.endm

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	parent
	LEAVE	16
END guest_main

FUNC parent
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	li	a0, 5
	li	a6, 6				// the seventh and eighth arguments, which are not used
	li	a7, 7
	RESCHED_AT_ENTRY
	call	traced
	mv	s1, a0
	lla	t0, need_resched
	sd	zero, 0(t0)
	RESCHED_AT_ENTRY
	call	traced_leaf
	add	a0, a0, s1
	lla	t0, need_resched
	sd	zero, 0(t0)
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END parent

TRACED traced
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	RESCHED_AT_RETURN
	LEAVE	16
END traced

TRACED traced_leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	RESCHED_AT_RETURN
	ret
END traced_leaf

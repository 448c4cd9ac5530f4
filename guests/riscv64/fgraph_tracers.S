//@ start none
//@ build fgraph_tracers:
//@ build fgraph_tracers-metadata: -DMETADATA
//@ build fgraph_tracers-F3: -DMETADATA -DDESIGN=3
// Two tracers, one of which keeps data words of its own with each entry; at each return both call a function that is itself
// traced. The recursion lock keeps that function out: it gets no entry, and returns to its caller.
#define FGRAPH
#define FGRAPH_DATA	2
#define EXIT_TRACED
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
	call	outer
	LEAVE	16
END parent

TRACED outer
						// CFA=sp RA=ra
	ENTER	16
	call	inner
	LEAVE	16
END outer

TRACED inner
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	LEAVE	16
END inner

// Called with the lock held: the task is switched out where the lock is released.
TRACED traced_by_tracer
						// CFA=sp RA=ra
	ENTER	16
	lla	t3, need_resched
	li	t4, 1
	sd	t4, 0(t3)
	LEAVE	16
END traced_by_tracer

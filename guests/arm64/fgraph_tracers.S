//@ start none
//@ build fgraph_tracers-F0: -DDESIGN=0
//@ build fgraph_tracers-F3: -DDESIGN=3
//@ build fgraph_tracers-F4: -DDESIGN=4
//@ build fgraph_tracers-F5: -DDESIGN=5
// Two tracers, one of which keeps a data word of its own with each entry; at each return both call a function that is
// itself traced. The recursion lock keeps that function out: it gets no entry, and returns to its caller.
#define PREEMPT_COUNT
#define FGRAPH_DATA
#define FGRAPH_EXIT_CALL	traced_by_tracer
#include "kernel.S"
#include "kernel_fgraph.S"

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	bl	outer
	LEAVE
END parent

TRACED outer
	ENTER						// RA is the trampoline's address
	bl	inner
	LEAVE
END outer

TRACED inner
	ENTER						// RA is the trampoline's address
	eor	x0, x0, #2
	LEAVE
END inner

// Called with the lock held: the task is switched out where the lock is released.
TRACED traced_by_tracer
	ENTER						// RA is the caller's: there is no entry
	adr	x9, need_resched
	str	x9, [x9]
	LEAVE
END traced_by_tracer

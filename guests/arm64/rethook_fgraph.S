//@ start none
//@ build rethook_fgraph-F0: -DDESIGN=0
//@ build rethook_fgraph-F3: -DDESIGN=3
// Returns that are both probed and traced. Whichever hooks second at the entry keeps the first one's trampoline as the
// return address, and runs first at the return. A function that is both is probed first, because the breakpoint comes
// before the patched call; the tracer is first only where a traced function is left by a tail call to a probed one. The
// functions sleep.
#define PREEMPT_COUNT
#define BRK_HANDLER	brk_handler
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_kretprobe.S"

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	bl	graph_first
	bl	other_parent
	LEAVE
END parent

// With an SP of its own: the first breakpoint has not been returned from, and the second must not pass for that return.
FUNC other_parent
							// CFA=sp RA=x30
	ENTER
	bl	probe_first
	LEAVE
END other_parent

// Its return address is return_to_handler when it jumps to probe_second.
TRACED graph_first
	ENTER						// RA is the trampoline's address
	UNLINK
	b	probe_second
END graph_first

// Returns to the kretprobe's trampoline, which continues in return_to_handler.
PROBED probe_second
	ENTER						// RA is the trampoline's address
	bl	schedule
	LEAVE
END probe_second

// Returns to return_to_handler, which returns to the kretprobe's trampoline.
TRACED_PROBED probe_first
	ENTER						// RA is the trampoline's address
	bl	schedule
	LEAVE
END probe_first

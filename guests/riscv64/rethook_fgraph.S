//@ start none
//@ build rethook_fgraph:
//@ build rethook_fgraph-metadata: -DMETADATA
//@ build rethook_fgraph-F3: -DMETADATA -DDESIGN=3 -DRETHOOK_RECORD
// Returns that are hooked by a rethook and traced by the function graph tracer. Whichever hooks second at the entry keeps
// the first one's trampoline as the return address, and runs first at the return.
#define FGRAPH
#define KTHREAD		insistent_checker
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_rethook.S"
#include "kernel_resched.S"

OPS graph_first_ops, graph_then_hook
OPS hook_first_ops, hook_then_graph

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	parent
	LEAVE	16
END guest_main

FUNC parent
						// CFA=sp RA=ra
	ENTER	16
	call	graph_first
	call	hook_first
	LEAVE	16
END parent

// Returns to the rethook's trampoline, which returns to return_to_handler.
TRACED graph_first, graph_first_ops
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	RESCHED	2
	LEAVE	16
END graph_first

// Returns to return_to_handler, which returns to the rethook's trampoline.
TRACED hook_first, hook_first_ops
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	RESCHED	2
	LEAVE	16
END hook_first

FUNC graph_then_hook
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	mv	s1, a3
	call	ftrace_graph_func
	mv	a3, s1
	call	rethook_hook
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END graph_then_hook

FUNC hook_then_graph
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	sd	s2, 0(sp)
	.cfi_offset s2, -32
	mv	s1, a3
	mv	s2, a0
	call	rethook_hook
	mv	a0, s2
	mv	a3, s1
	call	ftrace_graph_func
	ld	s2, 0(sp)
	.cfi_restore s2
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END hook_then_graph

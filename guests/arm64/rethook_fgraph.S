//@ start none
//@ build rethook_fgraph-F0: -DDESIGN=0
//@ build rethook_fgraph-F3: -DDESIGN=3
// Returns that are both probed and traced. Whichever hooks second at the entry keeps the first one's trampoline as the
// return address, and runs first at the return. The functions sleep.
#define PREEMPT_COUNT
#define BRK_HANDLER	kretprobe_brk_handler
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_kretprobe.S"

	.data
	.p2align 3
graph_first_ops:
	.quad graph_then_probe, 0
probe_first_ops:
	.quad probe_then_graph, 0

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

// Returns to the kretprobe's trampoline, which continues in return_to_handler.
TRACED graph_first, graph_first_ops
	ENTER
	bl	schedule
	LEAVE
END graph_first

// Returns to return_to_handler, which returns to the kretprobe's trampoline.
TRACED probe_first, probe_first_ops
	ENTER
	bl	schedule
	LEAVE
END probe_first

// x0: the patched call, x1: the traced function's return address, x2: ops, x3: fregs.
FUNC graph_then_probe
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x3
	bl	ftrace_graph_func
	mov	x3, x19
	bl	kprobe_ftrace_handler
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END graph_then_probe

FUNC probe_then_graph
							// CFA=sp RA=x30
	ENTER	32
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -16; .cfi_offset x20, -8
	mov	x19, x0
	mov	x20, x3
	bl	kprobe_ftrace_handler
	mov	x0, x19
	mov	x3, x20
	bl	ftrace_graph_func
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	LEAVE	32
END probe_then_graph

//@ start none
//@ build rethook_fgraph:
//@ build rethook_fgraph-metadata: -DMETADATA
//@ build rethook_fgraph-F3: -DMETADATA -DDESIGN=3 -DRETHOOK_RECORD
// Returns that are hooked by a rethook and traced by the function graph tracer. Whichever hooks second at the entry keeps
// the first one's trampoline as the return address, and runs first at the return. riscv has no KPROBES_ON_FTRACE: a kretprobe
// is a breakpoint at the function's first instruction, before the patched call's jump. So a function that is both is hooked
// first; the tracer is first only where a traced function is left by a tail call to a hooked one.
#define FGRAPH
#define KTHREAD		insistent_checker
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_rethook.S"
#include "kernel_resched.S"

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

// Its return address is return_to_handler when it jumps to hook_second.
TRACED graph_first
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	j	hook_second
END graph_first

// Returns to the rethook's trampoline, which returns to return_to_handler.
TRACED hook_second, rethook_ops
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	RESCHED	2
	LEAVE	16
END hook_second

// Returns to return_to_handler, which returns to the rethook's trampoline.
TRACED hook_first, hook_first_ops
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	RESCHED	2
	LEAVE	16
END hook_first

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

//@ start none
// Kretprobes: the trampoline in place of a return address is a breakpoint instruction. Its handler puts the real address
// into pt_regs first, then runs what was asked for, and takes the instance off the list last. (The instance is put on the
// list by a tracer's callback here; in Linux, by a breakpoint at the function's entry.)
#define PREEMPT_COUNT
#define BRK_HANDLER	kretprobe_brk_handler
#include "kernel.S"
#include "kernel_fgraph.S"

#include "kernel_kretprobe.S"

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	bl	probed
	LEAVE
END parent

TRACED probed, kprobe_ops
	ENTER						// RA is the trampoline's address
	bl	probed_leaf
	LEAVE
END probed

TRACED probed_leaf, kprobe_ops
	eor	x0, x0, #7
	ret
END probed_leaf

//@ start none
// Kretprobes: the trampoline in place of a return address is a breakpoint instruction. Its handler first puts the real
// address into pt_regs, then runs the probe's handler, and unlinks the instance last. A breakpoint at the function's first
// instruction links the instance.
#define PREEMPT_COUNT
#define BRK_HANDLER	brk_handler
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

PROBED probed
	ENTER						// RA is the trampoline's address
	bl	probed_leaf
	LEAVE
END probed

PROBED probed_leaf
	eor	x0, x0, #7
	ret
END probed_leaf

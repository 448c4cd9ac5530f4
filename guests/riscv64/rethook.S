//@ start none
//@ build rethook:
//@ build rethook-metadata: -DMETADATA
//@ build rethook-record: -DMETADATA -DRETHOOK_RECORD
// A function whose return is hooked by a rethook. Its trampoline saves pt_regs and calls handlers; the task can be switched
// out after that, when the node is already unlinked.
#define FGRAPH
#include "kernel.S"
#include "kernel_fgraph.S"
#include "kernel_rethook.S"

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	parent
	LEAVE	16
END guest_main

FUNC parent
						// CFA=sp RA=ra
	ENTER	16
	li	a0, 5
	call	hooked
	LEAVE	16
END parent

TRACED hooked, rethook_ops
						// CFA=sp RA=ra
	ENTER	16
	call	hooked_inner
	LEAVE	16
END hooked

TRACED hooked_inner, rethook_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	lla	t0, need_resched
	li	t1, 1
	sd	t1, 0(t0)
	LEAVE	16
END hooked_inner

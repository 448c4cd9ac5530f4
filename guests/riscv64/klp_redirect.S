//@ start none
//@ build klp_redirect:
//@ build klp_redirect-metadata: -DMETADATA
//@ build klp_redirect-records: -DMETADATA -DRECORDS
// A live-patched function: the handler of its call to ftrace_caller stores the replacement's address where ftrace_caller
// will continue, and releases its lock. A task that is switched out after that will never run the old function again, but
// resumes in the new one. The label redirect_call and the two words are for the harness (guests/KERNEL.md).
#define FGRAPH
#include "kernel.S"
#include "kernel_fgraph.S"

OPS klp_ops, klp_ftrace_handler
WORD __redirect_from, 0				// where the redirected call was to continue
WORD __redirect_to, 0				// and where it will

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
	lla	t0, need_resched
	li	t1, 1
	sd	t1, 0(t0)
	call	old_function
	LEAVE	16
END parent

TRACED old_function, klp_ops
						// CFA=sp RA=ra
	xori	a0, a0, 2			// never runs
	ret
END old_function

FUNC new_function
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 3
	LEAVE	16
END new_function

// a3: struct ftrace_regs.
	.globl	redirect_call
FUNC klp_ftrace_handler
						// CFA=sp RA=ra
	ENTER	16
	RECURSION_LOCK
	lla	t0, new_function
	ld	t1, FREGS_EPC(a3)
	lla	t2, __redirect_from
	sd	t1, 0(t2)
	lla	t2, __redirect_to
	sd	t0, 0(t2)
	sd	t0, FREGS_EPC(a3)		// from here on old_function will not resume
redirect_call:
	RECURSION_UNLOCK
	LEAVE	16
END klp_ftrace_handler

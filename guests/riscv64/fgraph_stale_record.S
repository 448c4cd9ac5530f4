//@ start none
//@ build fgraph_stale_record:
//@ build fgraph_stale_record-metadata: -DMETADATA
//@ build fgraph_stale_record-F3: -DMETADATA -DDESIGN=3
//@ build fgraph_stale_record-F4: -DMETADATA -DDESIGN=4
//@ build fgraph_stale_record-F5: -DMETADATA -DDESIGN=5
// What lies in the two words above which mainline's return_to_handler puts s0, at a voluntary switch in the middle of it:
// the record of the traced function that has just returned, or the seventh and eighth arguments of one that had none. The
// arguments are a frame pointer and an address in the kernel, as a caller passes them to a function that reports them; then
// nothing, with a word above that looks like the type of a metadata record.
#define FGRAPH
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	caller
	LEAVE	16
END guest_main

FUNC caller
						// CFA=sp RA=ra
	ENTER	32
	call	traced
	mv	a6, s0				// its own frame, and where it will resume itself
	ld	a7, -8(s0)
	call	note
	li	a6, 0
	li	a7, 0
	li	t0, 1				// the value of FINAL
	sd	t0, 0(sp)
	call	note
	li	t0, 2				// the value of PT_REGS
	sd	t0, 0(sp)
	call	note
	LEAVE	32
END caller

// A reporter of its caller's frame: a leaf without a record.
TRACED note
						// CFA=sp RA=ra
	lla	t0, need_resched
	li	t1, 1
	sd	t1, 0(t0)
	ret
END note

TRACED traced
						// CFA=sp RA=ra
	ENTER	16
	lla	t0, need_resched
	li	t1, 1
	sd	t1, 0(t0)
	LEAVE	16
END traced

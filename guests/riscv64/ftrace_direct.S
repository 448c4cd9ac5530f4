//@ start none
//@ build ftrace_direct:
//@ build ftrace_direct-metadata: -DMETADATA
//@ build ftrace_direct-records: -DMETADATA -DRECORDS
// Direct calls: a traced function's call ends in a trampoline of the tracer's own. One is named by the operation, so
// ftrace_caller jumps there at once; one is found only by a callback, so ftrace_caller jumps there at its end; neither
// builds a frame record. A third one, as a JIT compiler makes it, builds two: one for the traced function's caller, one for
// the traced function. A fourth only continues in the traced function.
#define FGRAPH
#define DIRECT
#include "kernel.S"
#include "kernel_fgraph.S"

OPS early_ops, 0, plain_trampoline
OPS late_ops, call_direct_funcs
OPS records_ops, 0, records_trampoline
OPS stub_ops, 0, ftrace_stub_direct_tramp

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
	call	traced_early
	call	traced_late
	call	traced_records
	call	traced_stub
	LEAVE	16
END parent

TRACED traced_early, early_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 1
	LEAVE	16
END traced_early

TRACED traced_late, late_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	LEAVE	16
END traced_late

TRACED traced_records, records_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 3
	LEAVE	16
END traced_records

TRACED traced_stub, stub_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 4
	LEAVE	16
END traced_stub

// a3: struct ftrace_regs. Sets where ftrace_caller continues.
FUNC call_direct_funcs
						// CFA=sp RA=ra
	ENTER	16
	lla	t0, plain_trampoline
	sd	t0, FREGS_DIRECT(a3)
	LEAVE	16
END call_direct_funcs

// Where a direct call ends as long as no trampoline has been set.
CODE ftrace_stub_direct_tramp
						// CFA=sp RA=t0; its caller's is ra
	jr	t0
END_CODE ftrace_stub_direct_tramp

// From a traced function, with t0 and ra as ftrace_caller has them.
CODE plain_trampoline
						// CFA=sp RA=t0; its caller's is ra
	addi	sp, sp, -32			// CFA=sp+32
	sd	a0, 0(sp)
	sd	t0, 8(sp)			// RA=[sp+8]
	sd	ra, 16(sp)			// its caller's RA=[sp+16]
	call	direct_function
	ld	a0, 0(sp)
	ld	t0, 8(sp)			// RA=t0
	ld	ra, 16(sp)
	addi	sp, sp, 32			// CFA=sp
	jr	t0
END_CODE plain_trampoline

CODE records_trampoline
						// CFA=sp RA=t0; its caller's is ra
	addi	sp, sp, -16
	sd	ra, 8(sp)			// the traced function's caller
	sd	s0, 0(sp)
	addi	s0, sp, 16
	addi	sp, sp, -32			// CFA=sp+48
	sd	t0, 24(sp)			// RA=[cfa-24]: the traced function
	sd	s0, 16(sp)
	addi	s0, sp, 32
	sd	a0, 0(sp)
	call	direct_function
	ld	a0, 0(sp)
	ld	t0, 24(sp)			// RA=t0
	ld	s0, 32(sp)
	ld	ra, 40(sp)
	addi	sp, sp, 48			// CFA=sp
	jr	t0
END_CODE records_trampoline

// What is called directly: it sleeps.
FUNC direct_function
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	LEAVE	16
END direct_function

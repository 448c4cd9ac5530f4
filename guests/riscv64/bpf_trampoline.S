//@ start none
//@ build bpf_trampoline:
//@ build bpf_trampoline-metadata: -DMETADATA
// Trampolines as a JIT compiler makes them for BPF programs: called from a traced function's entry, with frame records for
// that function's caller and for the function itself, and without unwind data. One calls a program and continues into the
// function; the other calls a program, the function after its patched entry, and another program, and returns to the
// caller. At a third function the graph tracer came first: the caller whose address the trampoline keeps is
// return_to_handler. The programs at exits sleep.
#define FGRAPH
#define DIRECT
#include "kernel.S"
#include "kernel_fgraph.S"

// What a trampoline stores below its own record, and that record; the caller's is above.
#define BPF_ARGS	0
#define BPF_RETVAL	16
#define BPF_RECORD	32
#define BPF_FRAME	48

OPS both_ops, graph_then_bpf

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
	call	traced_entry
	call	traced_exit
	call	traced_both
	LEAVE	16
END parent

TRACED traced_entry, 0, bpf_trampoline_entry
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 1
	LEAVE	16
END traced_entry

TRACED traced_exit, 0, bpf_trampoline_exit
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 2
	LEAVE	16
END traced_exit

TRACED traced_both, both_ops
						// CFA=sp RA=ra
	ENTER	16
	xori	a0, a0, 3
	LEAVE	16
END traced_both

// As ftrace_graph_func; then ftrace_caller continues in the trampoline, with ra as the tracer has set it.
FUNC graph_then_bpf
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	mv	s1, a3
	call	ftrace_graph_func
	lla	t0, bpf_trampoline_exit
	sd	t0, FREGS_DIRECT(s1)
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END graph_then_bpf

// Links both records, saves the arguments, and calls the program.
.macro BPF_PROLOGUE program
						// CFA=sp RA=t0; its caller's is ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// the traced function's caller
	sd	s0, 0(sp)
	addi	s0, sp, 16			// linked; CFA=s0
	addi	sp, sp, -BPF_FRAME
	sd	t0, (BPF_RECORD + 8)(sp)	// RA=[sp+40]: the traced function
	sd	s0, BPF_RECORD(sp)
	addi	s0, sp, BPF_FRAME		// linked; CFA=s0+16
	sd	a0, BPF_ARGS(sp)
	sd	a1, (BPF_ARGS + 8)(sp)
	mv	a0, sp
	call	\program
	ld	a0, BPF_ARGS(sp)
	ld	a1, (BPF_ARGS + 8)(sp)
.endm

// Both records are unlinked, and ra holds the caller's resume address.
.macro BPF_EPILOGUE
	ld	s0, BPF_FRAME(sp)		// unlinked: CFA=sp+64
	ld	ra, (BPF_FRAME + 8)(sp)
	addi	sp, sp, BPF_FRAME + 16		// CFA=sp
.endm

CODE bpf_trampoline_entry
	BPF_PROLOGUE bpf_entry_program
	ld	t0, (BPF_RECORD + 8)(sp)	// RA=t0
	BPF_EPILOGUE
	jr	t0
END_CODE bpf_trampoline_entry

CODE bpf_trampoline_exit
	BPF_PROLOGUE bpf_entry_program
	ld	t0, (BPF_RECORD + 8)(sp)
	jalr	t0				// the function: its own call will never be returned to now
	sd	a0, BPF_RETVAL(sp)
	mv	a0, sp
	call	bpf_exit_program
	ld	a0, BPF_RETVAL(sp)
	BPF_EPILOGUE				// RA=ra: the caller, to which the function has in effect returned
	ret
END_CODE bpf_trampoline_exit

// a0: the arguments.
FUNC bpf_entry_program
						// CFA=sp RA=ra
	ENTER	16
	nop
	LEAVE	16
END bpf_entry_program

// a0: the arguments, and the return value. It sleeps.
FUNC bpf_exit_program
						// CFA=sp RA=ra
	ENTER	16
	call	schedule
	LEAVE	16
END bpf_exit_program

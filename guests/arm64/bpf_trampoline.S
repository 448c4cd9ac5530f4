//@ start none
// Trampolines as a JIT compiler makes them for BPF programs: called from a traced function's entry, with frame records for
// that function's caller and for the function itself, and without unwind data. One calls a program and continues into the
// function. The other calls a program, the function after its patched entry, and another program, and returns to the
// caller. They are called directly from the patched site, through ftrace_caller's shortcut, and late, after the graph
// tracer: then the caller whose address the trampoline keeps is return_to_handler. The programs at exits sleep.
#define PREEMPT_COUNT
#include "kernel.S"
#include "kernel_fgraph.S"

	.data
	.p2align 3
exit_ops:
	.quad 0, bpf_trampoline_exit
late_ops:
	.quad graph_then_bpf, 0

// What a trampoline stores below its records.
#define BPF_ARGS	0
#define BPF_RETVAL	16
#define BPF_FRAME	32

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
	mov	x0, #5
	bl	traced_entry
	bl	traced_exit
	bl	traced_late
	LEAVE
END parent

// Its call does not go to ftrace_caller.
FUNC traced_entry
							// CFA=sp RA=x30
	mov	x9, x30
	bl	bpf_trampoline_entry
	ENTER
	eor	x0, x0, #1
	LEAVE
END traced_entry

TRACED traced_exit, exit_ops
	ENTER
	eor	x0, x0, #2
	LEAVE
END traced_exit

TRACED traced_late, late_ops
	ENTER
	eor	x0, x0, #3
	LEAVE
END traced_late

// As ftrace_graph_func; then ftrace_caller continues in the trampoline, with lr as the tracer has set it.
FUNC graph_then_bpf
							// CFA=sp RA=x30
	ENTER	32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x3
	bl	ftrace_graph_func
	adr	x9, bpf_trampoline_exit
	str	x9, [x19, #FREGS_DIRECT]
	ldr	x19, [sp, #16]
	.cfi_restore x19
	LEAVE	32
END graph_then_bpf

// x9: the traced function's return address; x30: the address after its call. Links both records, saves the arguments, and
// calls the program.
.macro BPF_PROLOGUE program
	bti	c
	stp	x29, x9, [sp, #-16]!			// the caller of the traced function
	mov	x29, sp					// linked
	stp	x29, x30, [sp, #-16]!			// the traced function
	mov	x29, sp					// linked
	sub	sp, sp, #BPF_FRAME
	stp	x0, x1, [sp, #BPF_ARGS]
	mov	x0, sp
	bl	\program
	ldp	x0, x1, [sp, #BPF_ARGS]
.endm

// Unlinks the records; x30 is the traced function's resume address again, x9 its caller's.
.macro BPF_EPILOGUE
	mov	sp, x29
	ldp	x29, x30, [sp], #16
	ldp	x29, x9, [sp], #16			// unlinked
.endm

CODE bpf_trampoline_entry
	BPF_PROLOGUE bpf_entry_program
	BPF_EPILOGUE
	mov	x10, x30
	mov	x30, x9
	ret	x10
END_CODE bpf_trampoline_entry

CODE bpf_trampoline_exit
	BPF_PROLOGUE bpf_entry_program
	ldr	x10, [x29, #8]
	blr	x10					// the function: its own call will never be returned to now
	str	x0, [sp, #BPF_RETVAL]
	mov	x0, sp
	bl	bpf_exit_program
	ldr	x0, [sp, #BPF_RETVAL]
	BPF_EPILOGUE
	mov	x30, x9
	ret						// to the caller, in the function's place
END_CODE bpf_trampoline_exit

// x0: the arguments.
FUNC bpf_entry_program
							// CFA=sp RA=x30
	ENTER
	ldr	x1, [x0]
	LEAVE
END bpf_entry_program

// x0: the arguments, and the return value. It sleeps.
FUNC bpf_exit_program
							// CFA=sp RA=x30
	ENTER
	bl	schedule
	LEAVE
END bpf_exit_program

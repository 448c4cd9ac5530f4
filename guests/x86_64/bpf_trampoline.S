//@ start none
//@ build bpf_trampoline: -DUNWINDER_ORC
//@ build bpf_trampoline-records: -DUNWINDER_ORC -DRECORDS_KNOWN
//@ build bpf_trampoline-fp: -DUNWINDER_FRAME_POINTER
//@ build bpf_trampoline-fgraph: -DUNWINDER_ORC -DRECORDS_KNOWN -DWITH_FGRAPH
//@ build bpf_trampoline-fgraph-fp: -DUNWINDER_FRAME_POINTER -DWITH_FGRAPH
// Trampolines that a JIT compiler generates for programs at the entry and at the return of a traced function. They build
// one record, for the trampoline itself: between it and the record of the traced function's caller lies the slot of that
// call, which is in no record. RECORDS_KNOWN: the compiler has given ORC the range in which rbp points at a record.
// Programs sleep in what they call. In the last build the function graph tracer is on the same calls, and the direct-call
// exit of ftrace_regs_caller leads to the trampolines.
#ifdef WITH_FGRAPH
#define FTRACE_REGS_CALLBACK	graph_then_direct
#endif
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	traced_call
	movl	$6, %edi
	call	traced_entry
	LEAVE
END parent

#ifdef WITH_FGRAPH
#define CALLS(trampoline)	ftrace_regs_caller
#else
#define CALLS(trampoline)	trampoline
#endif

// Its own call never returns: the trampoline calls the code after it, and returns in its place.
TRACED traced_call, CALLS(bpf_trampoline_call)
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	1(%rdi), %rax
	LEAVE
END traced_call

TRACED traced_entry, CALLS(bpf_trampoline_entry)
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	2(%rdi), %rax
	LEAVE
END traced_entry

#ifdef WITH_FGRAPH
// rdi: the traced function, rcx: struct ftrace_regs.
FUNC graph_then_direct
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	bpf_trampoline_call(%rip), %rax
	leaq	bpf_trampoline_entry(%rip), %rdx
	leaq	traced_call(%rip), %rsi
	cmpq	%rsi, %rdi
	cmovneq	%rdx, %rax
	movq	%rax, FREGS_DIRECT(%rcx)
	call	ftrace_graph_func
	LEAVE
END graph_then_direct
#endif

FUNC program_helper
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	schedule
	LEAVE
END program_helper

// Generated code, after all other code. JIT name ... END_CODE name: a function with a record.
.macro JIT name
CODE \name
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rbp				// CFA=rsp+16
	movq	%rsp, %rbp			// CFA=rbp+16
#ifdef RECORDS_KNOWN
	ORC_RECORD
#endif
.endm

.macro JIT_LEAVE
	leave					// CFA=rsp+8
	ORC_UNDEFINED				// no hint: there is no entry for generated code
.endm

// rdi: the arguments.
JIT bpf_prog
	call	program_helper
	xorl	%eax, %eax
	JIT_LEAVE
	ret
END_CODE bpf_prog

JIT bpf_trampoline_call
	subq	$24, %rsp
	movq	%rbx, -24(%rbp)
	movq	%rdi, -16(%rbp)
	leaq	-16(%rbp), %rdi
	call	bpf_prog
	movq	-16(%rbp), %rdi
	call	traced_call + CALL_SIZE
	movq	%rax, -8(%rbp)
	leaq	-16(%rbp), %rdi
	call	bpf_prog
	movq	-8(%rbp), %rax
	movq	-24(%rbp), %rbx
	JIT_LEAVE
	addq	$8, %rsp			// RA=[rsp], the traced function's
	ret
END_CODE bpf_trampoline_call

JIT bpf_trampoline_entry
	subq	$16, %rsp
	movq	%rbx, -16(%rbp)
	movq	%rdi, -8(%rbp)
	leaq	-8(%rbp), %rdi
	call	bpf_prog
	movq	-8(%rbp), %rdi
	movq	-16(%rbp), %rbx
	JIT_LEAVE
	ret					// into the traced function
END_CODE bpf_trampoline_entry

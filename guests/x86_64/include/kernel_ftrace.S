// What a traced function's first instruction calls: included by kernel_fgraph.S. The arguments are kept in a struct
// pt_regs, of which ftrace_caller saves only what a called function may use, and ftrace_regs_caller everything.
//
// FTRACE_CALLBACK, FTRACE_REGS_CALLBACK: what they call. rdi: the traced function, rsi: its caller's address, rcx: the
// registers. With UNWINDER_ORC there are no records below the registers.
#ifndef FTRACE_CALLBACK
#define FTRACE_CALLBACK	ftrace_graph_func
#endif
#ifndef FTRACE_REGS_CALLBACK
#define FTRACE_REGS_CALLBACK	FTRACE_CALLBACK
#endif

#define FREGS_R15	0
#define FREGS_R14	8
#define FREGS_R13	16
#define FREGS_R12	24
#define FREGS_RBP	32
#define FREGS_RBX	40
#define FREGS_R11	48
#define FREGS_R10	56
#define FREGS_R9	64
#define FREGS_R8	72
#define FREGS_RAX	80
#define FREGS_RCX	88
#define FREGS_RDX	96
#define FREGS_RSI	104
#define FREGS_RDI	112
#define FREGS_DIRECT	120			// orig_ax: the target of a direct call, or 0
#define FREGS_RIP	128
#define FREGS_CS	136
#define FREGS_RFLAGS	144
#define FREGS_RSP	152
#define FREGS_SS	160
#define FREGS_SIZE	168
#define CALL_SIZE	5			// of the patched call

#ifdef UNWINDER_ORC
#define SAVED_SIZE	FREGS_SIZE
#else
#define SAVED_SIZE	(FREGS_SIZE + 40)	// and rbp, and two records
#endif

WORD function_trace_op				// what a callback gets as its third argument; unused here

// TRACED name, trampoline: a traced function. A compiler leaves its first five bytes as a NOP; here they are patched, for a
// direct call with another trampoline.
.macro TRACED name, trampoline=ftrace_caller
FUNC \name
						// CFA=rsp+8 RA=[cfa-8]
	call	\trampoline
.endm

// Below the return address of the patched call lie `extra` bytes. Afterwards rdi and rsi are arguments of the callback.
.macro FTRACE_SAVE extra=0
#ifndef UNWINDER_ORC
	pushq	%rbp				// CFA=rsp+16+extra
	.cfi_adjust_cfa_offset 8; .cfi_rel_offset %rbp, 0
	pushq	\extra+16(%rsp)			// CFA=rsp+24+extra; the traced function's caller: not hooked
	.cfi_adjust_cfa_offset 8
	pushq	%rbp				// CFA=rsp+32+extra
	.cfi_adjust_cfa_offset 8
	movq	%rsp, %rbp
	pushq	\extra+24(%rsp)			// CFA=rsp+40+extra; the traced function
	.cfi_adjust_cfa_offset 8
	pushq	%rbp				// CFA=rsp+48+extra
	.cfi_adjust_cfa_offset 8
	movq	%rsp, %rbp
#endif
	subq	$FREGS_SIZE, %rsp		// CFA=rsp+8+extra+SAVED_SIZE
	.cfi_adjust_cfa_offset FREGS_SIZE
	movq	%rax, FREGS_RAX(%rsp)
	movq	%rcx, FREGS_RCX(%rsp)
	movq	%rdx, FREGS_RDX(%rsp)
	movq	%rsi, FREGS_RSI(%rsp)
	movq	%rdi, FREGS_RDI(%rsp)
	movq	%r8, FREGS_R8(%rsp)
	movq	%r9, FREGS_R9(%rsp)
	movq	$0, FREGS_DIRECT(%rsp)
#ifdef UNWINDER_ORC
	movq	%rbp, %rdx
#else
	movq	SAVED_SIZE - 8(%rsp), %rdx
#endif
	movq	%rdx, FREGS_RBP(%rsp)
	movq	SAVED_SIZE + 8 + \extra(%rsp), %rsi
	movq	SAVED_SIZE + \extra(%rsp), %rdi
	movq	%rdi, FREGS_RIP(%rsp)
	subq	$CALL_SIZE, %rdi
.endm

// rsp rises to what lies above the saved registers, less `kept` bytes.
.macro FTRACE_RESTORE kept=0
	movq	FREGS_RBP(%rsp), %rbp
#ifndef UNWINDER_ORC
	.cfi_restore %rbp
#endif
	movq	FREGS_R9(%rsp), %r9
	movq	FREGS_R8(%rsp), %r8
	movq	FREGS_RDI(%rsp), %rdi
	movq	FREGS_RSI(%rsp), %rsi
	movq	FREGS_RDX(%rsp), %rdx
	movq	FREGS_RCX(%rsp), %rcx
	movq	FREGS_RAX(%rsp), %rax
	addq	$SAVED_SIZE - \kept, %rsp
	.cfi_adjust_cfa_offset \kept - SAVED_SIZE
.endm

FUNC ftrace_caller
						// CFA=rsp+8 RA=[cfa-8]; the traced function's slot is at the CFA
	FTRACE_SAVE				// CFA=rsp+8+SAVED_SIZE
	leaq	SAVED_SIZE + 8(%rsp), %rcx
	movq	%rcx, FREGS_RSP(%rsp)		// the traced function's slot
	movq	function_trace_op(%rip), %rdx
	leaq	(%rsp), %rcx
	movq	$0, FREGS_CS(%rsp)
	call	FTRACE_CALLBACK
	movq	FREGS_RIP(%rsp), %rax
	movq	%rax, SAVED_SIZE(%rsp)		// where the traced function resumes
	FTRACE_RESTORE				// CFA=rsp+8
	ret
END ftrace_caller

// For callbacks that want all registers, and may request another place to go on at, in orig_ax: a direct call, or with the
// lowest bit set a direct jump. A jump's target takes the place of the return address. A call's target is stored in place of
// the flags, below it, and reached by a return for which there was no call; the call before that keeps the CPU's own return
// stack balanced.
FUNC ftrace_regs_caller
						// CFA=rsp+8 RA=[cfa-8]
	pushfq					// CFA=rsp+16
	.cfi_adjust_cfa_offset 8
	FTRACE_SAVE 8				// CFA=rsp+16+SAVED_SIZE
	movq	function_trace_op(%rip), %rdx
	movq	%r15, FREGS_R15(%rsp)
	.cfi_rel_offset %r15, FREGS_R15
	movq	%r14, FREGS_R14(%rsp)
	.cfi_rel_offset %r14, FREGS_R14
	movq	%r13, FREGS_R13(%rsp)
	.cfi_rel_offset %r13, FREGS_R13
	movq	%r12, FREGS_R12(%rsp)
	.cfi_rel_offset %r12, FREGS_R12
	movq	%r11, FREGS_R11(%rsp)
	movq	%r10, FREGS_R10(%rsp)
	movq	%rbx, FREGS_RBX(%rsp)
	.cfi_rel_offset %rbx, FREGS_RBX
	movq	SAVED_SIZE(%rsp), %rcx
	movq	%rcx, FREGS_RFLAGS(%rsp)
	movq	$0x18, %rcx
	movq	%rcx, FREGS_SS(%rsp)
	movq	$0x10, %rcx
	movq	%rcx, FREGS_CS(%rsp)
	leaq	SAVED_SIZE + 16(%rsp), %rcx
	movq	%rcx, FREGS_RSP(%rsp)		// the traced function's slot
	ENCODE_FRAME_POINTER			// as an exception's: a walk along rbp takes them for one
	leaq	(%rsp), %rcx
	call	FTRACE_REGS_CALLBACK
	movq	FREGS_RFLAGS(%rsp), %rax
	movq	%rax, SAVED_SIZE(%rsp)
	movq	FREGS_RIP(%rsp), %rax
	movq	%rax, SAVED_SIZE + 8(%rsp)	// where the traced function resumes
	movq	FREGS_R15(%rsp), %r15
	.cfi_restore %r15
	movq	FREGS_R14(%rsp), %r14
	.cfi_restore %r14
	movq	FREGS_R13(%rsp), %r13
	.cfi_restore %r13
	movq	FREGS_R12(%rsp), %r12
	.cfi_restore %r12
	movq	FREGS_R10(%rsp), %r10
	movq	FREGS_RBX(%rsp), %rbx
	.cfi_restore %rbx
	movq	FREGS_DIRECT(%rsp), %rax
	movq	%rax, SAVED_SIZE - 8(%rsp)	// where rbp was pushed, if it was
#ifndef UNWINDER_ORC
	.cfi_offset %rbp, FREGS_RBP - SAVED_SIZE - 16
#endif
	testq	%rax, %rax
	jnz	.Lftrace_direct
	.cfi_remember_state
	FTRACE_RESTORE				// CFA=rsp+16
	popfq					// CFA=rsp+8
	.cfi_adjust_cfa_offset -8
	ret

.Lftrace_direct:				// CFA=rsp+16+SAVED_SIZE
	.cfi_restore_state; .cfi_def_cfa_offset SAVED_SIZE + 16
	testb	$1, %al
	jz	.Lftrace_direct_call
	.cfi_remember_state
	andq	$-2, %rax
	movq	%rax, SAVED_SIZE + 8(%rsp)	// RA=[cfa-8]: the target, which returns to the traced function's caller
	FTRACE_RESTORE				// CFA=rsp+16
	popfq					// CFA=rsp+8
	.cfi_adjust_cfa_offset -8
	ret

.Lftrace_direct_call:
	.cfi_restore_state; .cfi_def_cfa_offset SAVED_SIZE + 16
	movq	SAVED_SIZE(%rsp), %rdi
	movq	%rdi, SAVED_SIZE - 8(%rsp)	// the flags, one word lower
	movq	%rax, SAVED_SIZE(%rsp)
	FTRACE_RESTORE 8			// CFA=rsp+24
	popfq					// CFA=rsp+16; at rsp is the address to jump to
	.cfi_def_cfa_offset 16
	ORC_FUNC				// the kernel's hint, which takes that address for the return address
	call	.Lftrace_rebalance		// never returns
	int3
.Lftrace_rebalance:				// CFA=rsp+8 RA=[cfa-8], the call's own
	.cfi_def_cfa_offset 8
	ORC_ADJUST 8
	addq	$8, %rsp			// CFA=rsp+16 again
	.cfi_def_cfa_offset 16
	ORC_ADJUST -8
	ret					// to the address above
END ftrace_regs_caller

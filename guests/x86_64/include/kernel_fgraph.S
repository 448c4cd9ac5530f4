// The function graph tracer, for guests with traced functions: included after kernel.S. KERNEL.md, "Hooked return
// addresses", has the names and the layout of the ret_stack.
//
// Mainline's order of events: ftrace_caller saves the arguments and calls the tracer, which keeps the return address and
// puts return_to_handler in its slot. The traced function returns there; ftrace_return_to_handler calls the tracer again,
// pops the entry, and returns the original address. The cookie by which a walk finds an entry is the address of the slot.
//
// DESIGN: 0 as in mainline; 2, 3 and 4 are the fixes F2 to F4 for the windows of return_to_handler.
// NO_HINTS: ORC has nothing for return_to_handler.
// NO_PADDING: return_to_handler begins right after another function, without a gap.
// TRACERS: how many tracers there are. EXIT_CALLBACK: what each calls at a return.
#ifndef DESIGN
#define DESIGN		0
#endif
#ifndef TRACERS
#define TRACERS		1
#endif

// struct ftrace_ret_stack, and the control word above it.
#define RET_RET		0
#define RET_FUNC	8
#define RET_RETP	16
#define RET_CONTROL	24
#define RET_WORDS	3
#define CONTROL_OFFSET	0x3ff
#define CONTROL_BITMAP	(1 << 10 | ((1 << TRACERS) - 1) << 12)
#define CONTROL_DATA	(2 << 10)

WORD ret_stack_boot, 8 + 4096			// the index of the first free word, and 512 words
WORD ret_stack_other, 8 + 4096
WORD tracer_data_words				// how many words each tracer keeps with each call, at most 2

// The running task's ret_stack.
.macro RET_STACK to, scratch
	leaq	ret_stack_boot(%rip), \to
	leaq	task_boot(%rip), \scratch
	cmpq	current_task(%rip), \scratch
	je	9f
	leaq	ret_stack_other(%rip), \to
9:
.endm

// Disables preemption, and enables it again: there the task can be switched out, with no pt_regs on its stack.
.macro PREEMPT_DISABLE
	addq	$COUNT_PREEMPT, preempt_count(%rip)
.endm

.macro PREEMPT_ENABLE
	subq	$COUNT_PREEMPT, preempt_count(%rip)
	jnz	9f
	cmpq	$0, need_resched(%rip)
	je	9f
	call	preempt_schedule_notrace
9:
.endm

// The lock against tracing the tracer, a word of each task: \bit, a register, stands for the present context. Goes to \busy if
// that context already holds it. Changes rax. Preemption is enabled before the bit is cleared, so that a task which is switched
// out there still holds it.
.macro RECURSION_TRYLOCK bit, busy
	movzbl	preempt_count+2(%rip), %eax	// interrupts being handled: 0 or 1
	leaq	1(%rax), \bit
	movq	current_task(%rip), %rax
	testq	\bit, TASK_RECURSION(%rax)
	jnz	\busy
	orq	\bit, TASK_RECURSION(%rax)
	PREEMPT_DISABLE
.endm

.macro RECURSION_UNLOCK bit
	PREEMPT_ENABLE
	movq	current_task(%rip), %rax
	xorq	\bit, TASK_RECURSION(%rax)
.endm

// Pops the youngest entry of the ret_stack.
.macro RET_STACK_POP
	RET_STACK %rdi, %rsi
	movq	(%rdi), %rax
	movq	(%rdi,%rax,8), %rcx		// the control word
	andl	$CONTROL_OFFSET, %ecx
	incl	%ecx
	subq	%rcx, %rax
	movq	%rax, (%rdi)
.endm

#include "kernel_ftrace.S"

// rdi: the function, rsi: its caller, rcx: struct ftrace_regs.
FUNC ftrace_graph_func
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	FREGS_RSP(%rcx), %rbx
	movq	%rdi, %rsi
	movq	(%rbx), %rdi
	movq	%rbx, %rdx
	call	function_graph_enter
	testl	%eax, %eax
	jnz	.Lnot_graphed
	leaq	return_to_handler(%rip), %rax
	movq	%rax, (%rbx)			// from here on the address is only on the ret_stack
.Lnot_graphed:
	RESTORE	%rbx
	LEAVE
END ftrace_graph_func

// rdi: the return address, rsi: the function, rdx: the cookie. Pushes them on the ret_stack and returns 0, unless a tracer
// runs in this context.
FUNC function_graph_enter
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	RECURSION_TRYLOCK %r12, .Lenter_busy
	RET_STACK %r8, %r9
	movq	(%r8), %rax
	leaq	8(%r8,%rax,8), %rbx		// the new entry
	movq	$RET_WORDS, RET_CONTROL(%rbx)	// before the index is raised: an interrupt that is traced finds the way back
	movq	%rdi, RET_RET(%rbx)
	addq	$RET_WORDS + 1, %rax
	movq	%rax, (%r8)
	movq	$RET_WORDS, RET_CONTROL(%rbx)	// again: an interrupt could have used these words before
	movq	%rdi, RET_RET(%rbx)
	movq	%rsi, RET_FUNC(%rbx)
	movq	%rdx, RET_RETP(%rbx)
	.rept TRACERS
	movq	RET_FUNC(%rbx), %rdi
	call	graph_entry
	.endr
	movq	$CONTROL_BITMAP | RET_WORDS, RET_CONTROL(%rbx)
	RECURSION_UNLOCK %r12
	xorl	%eax, %eax
.Lenter_done:
	.cfi_remember_state
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
.Lenter_busy:
	.cfi_restore_state
	movl	$1, %eax
	jmp	.Lenter_done
END function_graph_enter

// rdi: the traced function. What a tracer does at entry: it may keep some words above the control word, with one more
// control word above.
FUNC graph_entry
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	tracer_data_words(%rip), %rcx
	testq	%rcx, %rcx
	jz	.Lno_data
	RET_STACK %r8, %r9
	movq	(%r8), %rax
	leaq	8(%r8,%rax,8), %rdx
	movl	-8(%rdx), %esi
	andl	$CONTROL_OFFSET, %esi		// the distance from the youngest control word to the structure
	leaq	CONTROL_DATA + 1(%rsi,%rcx), %rsi
	movq	%rsi, (%rdx,%rcx,8)		// the control word of the data
	leaq	1(%rax,%rcx), %rax
	movq	%rax, (%r8)
	movq	%rsi, (%rdx,%rcx,8)		// again, for the same reason
	movq	%rdi, (%rdx)			// the data: one word is enough to see
.Lno_data:
	LEAVE
END graph_entry

// rdi: struct ftrace_regs. What a tracer does at return.
FUNC graph_return
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
#ifdef EXIT_CALLBACK
	call	EXIT_CALLBACK
#else
	nop
#endif
	LEAVE
END graph_return

// rdi: struct ftrace_regs. Returns the address that the youngest entry keeps, after calling the tracer. With DESIGN 0 and 2
// it pops the entry.
FUNC ftrace_return_to_handler
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	SAVE	%r13
	SAVE	%r14
	RET_STACK %rbx, %rax
	movq	(%rbx), %r13
	movq	(%rbx,%r13,8), %rax		// the control word
	andl	$CONTROL_OFFSET, %eax
	incl	%eax
	subq	%rax, %r13			// the index without the entry
	movq	8 + RET_RET(%rbx,%r13,8), %r12
	movq	%r12, FREGS_RIP(%rdi)
	RECURSION_TRYLOCK %r14, .Lreturn_busy
	.rept TRACERS
	call	graph_return
	.endr
	RECURSION_UNLOCK %r14
.Lreturn_busy:
#if DESIGN == 0 || DESIGN == 2
	movq	%r13, (%rbx)			// from here on the address is in registers, and in a word that no walk looks at
#endif
	movq	%r12, %rax
	RESTORE	%r14
	RESTORE	%r13
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END ftrace_return_to_handler

// Lets another task run, unless interrupts are off.
FUNC preempt_schedule_notrace
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	pushfq
	RSP_LOWER 8
	popq	%rax
	RSP_LOWER -8
	testl	$RFLAGS_IF, %eax
	jz	.Lnot_preemptible
	movq	$0, need_resched(%rip)
	call	schedule
.Lnot_preemptible:
	LEAVE
END preempt_schedule_notrace

// Never runs. A walk that looks up return_to_handler's first address finds the byte before it: this function's last one, or
// padding.
FUNC neighbour
						// CFA=rsp+8 RA=[cfa-8]
#ifdef NO_PADDING
	.skip	15, 0x90
#endif
	ret
END neighbour

#if DESIGN == 0 || DESIGN == 2
.macro HINT hint:vararg
#ifndef NO_HINTS
	\hint
#endif
.endm

// As in mainline. The return has moved rsp above the slot, which an interrupt may use until the trampoline takes it back.
// DESIGN 2 differs in the hints for the tail: they say nothing while the address is in a register, and at the end that rbp
// is where it always was.
CODE return_to_handler
	ORC_UNDEFINED
	movq	%rsp, %rdi
	subq	$8, %rsp
	HINT ORC_FUNC				// the slot, which still holds this address
	subq	$FREGS_SIZE, %rsp
	HINT ORC_ADJUST FREGS_SIZE
	movq	%rax, FREGS_RAX(%rsp)
	movq	%rdx, FREGS_RDX(%rsp)
	movq	%rbp, FREGS_RBP(%rsp)
	HINT ORC_CALL 176, -144			// as objtool sees it: rbp is saved
	movq	%rdi, FREGS_RSP(%rsp)
	movq	%rsp, %rdi
	call	ftrace_return_to_handler
#if DESIGN == 2
	ORC_UNDEFINED
#endif
	movq	%rax, %rdi			// RA=rdi; since its entry was popped it was only in registers
	movq	FREGS_RDX(%rsp), %rdx
	movq	FREGS_RAX(%rsp), %rax
	addq	$176, %rsp			// RA=rdi
	HINT ORC_ADJUST -176
	call	.Ldo_rop			// takes the slot again; never returns
	ORC_UNDEFINED
	int3
.Ldo_rop:
#if DESIGN == 0
	HINT ORC_CALL 8, -144
#endif
	movq	%rdi, (%rsp)			// RA=[rsp]
#if DESIGN == 2
	ORC_FUNC
#endif
	ret
END_CODE return_to_handler
#elif DESIGN == 3 || DESIGN == 4
// The address goes back to the slot, and only then is the entry popped. DESIGN 4 has a frame record as well: the slot is
// its second word, so that a walk along rbp looks the slot's address up on the ret_stack, as it does in any traced
// function.
CODE return_to_handler
	ORC_UNDEFINED
	movq	%rsp, %rdi
	subq	$8, %rsp
	ORC_FUNC				// the slot, which still holds this address
#if DESIGN == 4
	pushq	%rbp
	ORC_CALL 16, -16
	movq	%rsp, %rbp
	subq	$FREGS_SIZE - 8, %rsp
	ORC_ADJUST FREGS_SIZE - 8
#else
	subq	$FREGS_SIZE, %rsp
	ORC_ADJUST FREGS_SIZE
#endif
	movq	%rax, FREGS_RAX(%rsp)
	movq	%rdx, FREGS_RDX(%rsp)
	movq	%rdi, FREGS_RSP(%rsp)
	movq	%rsp, %rdi
	call	ftrace_return_to_handler
	movq	%rax, FREGS_SIZE(%rsp)		// RA=[cfa-8], and on the ret_stack
	RET_STACK_POP				// RA=[cfa-8]
	movq	FREGS_RDX(%rsp), %rdx
	movq	FREGS_RAX(%rsp), %rax
#if DESIGN == 4
	addq	$FREGS_SIZE - 8, %rsp
	ORC_CALL 16, -16
	popq	%rbp
#else
	addq	$FREGS_SIZE, %rsp
#endif
	ORC_FUNC
	ret
END_CODE return_to_handler
#else
#error no such design
#endif

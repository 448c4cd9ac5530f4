// Rethooks, for guests that hook the return of functions: included after kernel_fgraph.S, whose FTRACE_CALLBACK is
// rethook_hook. KERNEL.md, "Hooked return addresses", has the names.
//
// Mainline's order of events: the trampoline pushes its own address into the slot that the return has left, and pt_regs
// below it, with an encoded frame pointer. Handlers run while the node is in the list; then the real address is written to
// the slot, and only then is the node unlinked.

#define NODE_NEXT	0
#define NODE_RET	8
#define NODE_FRAME	16
#define NODE_SIZE	24

WORD rethooks_boot
WORD rethooks_other
WORD rethook_nodes, 8 * NODE_SIZE		// where nodes are allocated from
WORD rethook_used				// how many bytes of them are in use

// The running task's list.
.macro RETHOOKS to, scratch
	leaq	rethooks_boot(%rip), \to
	leaq	task_boot(%rip), \scratch
	cmpq	current_task(%rip), \scratch
	je	9f
	leaq	rethooks_other(%rip), \to
9:
.endm

// rcx: struct ftrace_regs of a function's entry. Links a node and hooks the return.
FUNC rethook_hook
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	PREEMPT_DISABLE
	movq	rethook_used(%rip), %rax
	addq	$NODE_SIZE, rethook_used(%rip)
	leaq	rethook_nodes(%rip), %rdx
	addq	%rax, %rdx
	movq	FREGS_RSP(%rcx), %rcx		// the slot
	movq	(%rcx), %rax
	movq	%rax, NODE_RET(%rdx)
	movq	%rcx, NODE_FRAME(%rdx)
	RETHOOKS %rdi, %rsi
	movq	(%rdi), %rax
	movq	%rax, NODE_NEXT(%rdx)
	movq	%rdx, (%rdi)
	leaq	arch_rethook_trampoline(%rip), %rax
	movq	%rax, (%rcx)			// from here on the address is only in the node
	PREEMPT_ENABLE
	LEAVE
END rethook_hook

// At its first instruction ORC has the row of every function's first instruction: the return address is at rsp.
CODE arch_rethook_trampoline
	ORC_FUNC
#ifdef BUG_NO_FAKE_ADDRESS			// the museum: a place for pt_regs, and no address
	pushq	%rsp
#else
	pushq	$arch_rethook_trampoline	// the slot again
#endif
	ORC_FUNC
	PUSH	$0x18				// ss, which will hold the flags for popfq
	PUSH	%rsp				// two words too low
	pushfq
	ORC_ADJUST 8
	subq	$24, %rsp			// orig_ax, ip, cs
	ORC_ADJUST 24
	.irp	register, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx
	PUSH	%\register
	.endr
	pushq	%rbp
	ORC_CALL 144, -144
	.irp	register, r12, r13, r14, r15
	PUSH	%\register
	.endr
#ifdef BUG_PLAIN_FRAME_POINTER			// the museum: rbp leads into pt_regs as if a record began there
	movq	%rsp, %rbp
#else
	ENCODE_FRAME_POINTER
#endif
	movq	%rsp, %rdi
	call	arch_rethook_trampoline_callback
	.irp	register, r15, r14, r13, r12
	POP	%\register
	.endr
	popq	%rbp
	ORC_CALL 136
	.irp	register, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
	POP	%\register
	.endr
	addq	$24, %rsp			// orig_ax, ip, cs
	ORC_ADJUST -24
	addq	$16, %rsp			// at ss
	ORC_ADJUST -16
	popfq
	ORC_ADJUST -8
	ret
END_CODE arch_rethook_trampoline

// rdi: pt_regs.
FUNC arch_rethook_trampoline_callback
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	movq	$0x10, REGS_CS(%rdi)
	leaq	arch_rethook_trampoline(%rip), %rax
	movq	%rax, REGS_RIP(%rdi)
	movq	$-1, REGS_ORIG_RAX(%rdi)
	addq	$16, REGS_RSP(%rdi)
	leaq	REGS_SIZE(%rdi), %rsi		// the slot
	call	rethook_trampoline_handler
	movq	REGS_RFLAGS(%rbx), %rax
	movq	%rax, REGS_SS(%rbx)
	RESTORE	%rbx
	LEAVE
END arch_rethook_trampoline_callback

// rdi: pt_regs, rsi: the slot. Restores the return address.
FUNC rethook_trampoline_handler
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	SAVE	%r12
	movq	%rsi, %r12
	RETHOOKS %rax, %rdx
	movq	(%rax), %rbx			// the youngest node is the right one: there are no tail calls here
	cmpq	%rsi, NODE_FRAME(%rbx)
	je	.Lown_node
	ud2
.Lown_node:
	movq	NODE_RET(%rbx), %rax
	movq	%rax, REGS_RIP(%rdi)
	PREEMPT_DISABLE
	call	rethook_handler
	movq	NODE_RET(%rbx), %rax
	movq	%rax, (%r12)			// "restore first": walks look at the slot
	RETHOOKS %rdx, %rcx
	movq	NODE_NEXT(%rbx), %rax
	movq	%rax, (%rdx)			// "pop after"
	subq	$NODE_SIZE, rethook_used(%rip)
	PREEMPT_ENABLE
	RESTORE	%r12
	RESTORE	%rbx
	LEAVE
END rethook_trampoline_handler

// A handler that runs at the hooked return.
FUNC rethook_handler
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	nop
	LEAVE
END rethook_handler

// Rethooks, for guests that hook the return of functions: included after kernel_fgraph.S, whose ftrace_caller hooks them.
// KERNEL.md, "Hooked return addresses", has the names.
//
// Mainline's order of events: the trampoline saves pt_regs, without a frame record. The handlers run while the node is
// still in the list; then it is unlinked, and the return address is only in registers until the trampoline has it in ra.
//
// With RETHOOK_RECORD the trampoline links a frame record, as x86's pushes a slot: first with its own address, which a walk
// finds in the list of nodes, and then, before the node is unlinked, with the return address.

#define NODE_NEXT	0
#define NODE_RET	8
#define NODE_FRAME	16

WORD rethooks_boot, 0
WORD rethooks_other, 0

// Where nodes are allocated from, the youngest last, and how many are in use.
	.pushsection .scratch, "aw"
	.p2align 3
	.type rethook_nodes, @object
rethook_nodes:
	.zero 8 * 24
	.size rethook_nodes, 8 * 24
	.popsection
WORD rethook_count, 0

OPS rethook_ops, rethook_hook

// a0: the function, a1: its caller, a2: the operation, a3: struct ftrace_regs. Links a node and hooks the return.
FUNC rethook_hook
						// CFA=sp RA=ra
	ENTER	16
	RECURSION_LOCK
	lla	t0, rethook_count
	ld	t1, 0(t0)
	addi	t2, t1, 1
	sd	t2, 0(t0)
	slli	t2, t1, 4
	slli	t1, t1, 3
	add	t1, t1, t2			// 24 bytes each
	lla	t0, rethook_nodes
	add	t0, t0, t1
	ld	t1, FREGS_RA(a3)
	sd	t1, NODE_RET(t0)
	ld	t1, FREGS_S0(a3)
	sd	t1, NODE_FRAME(t0)
	lla	t1, rethooks_boot
	ld	t2, 0(t1)
	sd	t2, NODE_NEXT(t0)
	sd	t0, 0(t1)
	lla	t2, arch_rethook_trampoline
	sd	t2, FREGS_RA(a3)		// from here on the address is only in the node
	RECURSION_UNLOCK
	LEAVE	16
END rethook_hook

#ifdef RETHOOK_RECORD
#define RETHOOK_FRAME	(PT_SIZE + 16)
#else
#define RETHOOK_FRAME	PT_SIZE
#endif

CODE arch_rethook_trampoline
						// CFA=sp RA is in the node
	addi	sp, sp, -RETHOOK_FRAME		// CFA=sp+RETHOOK_FRAME
	.irp	n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	sd	x\n, (8 * \n)(sp)
	.endr
#ifdef RETHOOK_RECORD
	sd	s0, PT_SIZE(sp)
	sd	ra, (PT_SIZE + 8)(sp)		// the trampoline's address: with it the function has returned here
	addi	s0, sp, PT_SIZE + 16		// linked
#endif
	addi	a0, sp, RETHOOK_FRAME
	sd	a0, PT_SP(sp)
	mv	a0, sp
	call	arch_rethook_trampoline_callback
	mv	ra, a0				// RA=ra; since the node was unlinked it was only in registers and in pt_regs
	.irp	n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	ld	x\n, (8 * \n)(sp)
	.endr
	addi	sp, sp, RETHOOK_FRAME		// CFA=sp
	ret
END_CODE arch_rethook_trampoline

// a0: pt_regs.
FUNC arch_rethook_trampoline_callback
						// CFA=sp RA=ra
	ENTER	16
	ld	a1, (8 * 8)(a0)			// s0
	call	rethook_trampoline_handler
	LEAVE	16
END arch_rethook_trampoline_callback

// a0: pt_regs, a1: the frame pointer. Returns the return address.
FUNC rethook_trampoline_handler
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	sd	s2, 0(sp)
	.cfi_offset s2, -32
	lla	t0, rethooks_boot
	ld	s2, 0(t0)			// the youngest node is the right one: there are no tail calls here
	ld	t1, NODE_FRAME(s2)
	beq	t1, a1, 1f
	ebreak
1:	ld	s1, NODE_RET(s2)
	sd	s1, PT_EPC(a0)			// "restore first": but no walk looks there
#ifdef RETHOOK_RECORD
	sd	s1, (PT_SIZE + 8)(a0)		// RA=[cfa-8] of the trampoline: here every walk looks
#endif
	RECURSION_LOCK
	call	rethook_handler
	lla	t0, rethooks_boot
	ld	t1, NODE_NEXT(s2)
	sd	t1, 0(t0)			// "pop after"; from here on it is only in registers and in pt_regs
	lla	t0, rethook_count
	ld	t1, 0(t0)
	addi	t1, t1, -1
	sd	t1, 0(t0)
	RECURSION_UNLOCK
	mv	a0, s1
	ld	s2, 0(sp)
	.cfi_restore s2
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END rethook_trampoline_handler

// A handler that runs at the hooked return.
FUNC rethook_handler
						// CFA=sp RA=ra
	ENTER	16
	nop
	LEAVE	16
END rethook_handler

// Kretprobes, for the boot task only. A guest defines brk_handler as its BRK_HANDLER, and includes kernel.S and
// kernel_fgraph.S before this file.
//
// arm64 has no KPROBES_ON_FTRACE: a kretprobe is a breakpoint at the function's first instruction, before the patched call of
// ftrace. So on one function the probe always hooks the return first.

// An instance: next, return address, frame pointer.
WORD rethooks_boot
WORD rethooks_other
WORD kretprobe_instances, 96
WORD free_instance

// PROBED name ... END name: a function that is probed, and not traced: the breakpoint replaces a NOP.
.macro PROBED name
FUNC \name
							// CFA=sp RA=x30
	brk	#4					// from here on x30 is the trampoline's address
.endm

// TRACED_PROBED name, ops ... END name: one that is traced, too: the breakpoint replaces `mov x9, x30`.
.macro TRACED_PROBED name, ops=graph_ops
	.text
	.p2align 4
	nop
	nop
	.quad \ops
FUNC \name
							// CFA=sp RA=x30
	brk	#4
	bl	ftrace_caller
.endm

// x0: pt_regs of a breakpoint. A probe's continues after it: a kernel steps over the replaced instruction, out of line or
// by emulation, when the probe's handler is done; here that comes first.
FUNC brk_handler
							// CFA=sp RA=x30
	ldr	x9, [x0, #PT_PC]
	adr	x10, __kretprobe_trampoline
	cmp	x9, x10
	b.eq	kretprobe_brk_handler
	add	x9, x9, #4
	str	x9, [x0, #PT_PC]
	b	kprobe_brk_handler
END brk_handler

// x0: pt_regs of the breakpoint at a probed function's first instruction.
FUNC kprobe_brk_handler
							// CFA=sp RA=x30
	ENTER
	adr	x9, free_instance
	ldr	x10, [x9]
	add	x11, x10, #24
	str	x11, [x9]
	adr	x11, kretprobe_instances
	add	x10, x10, x11
	ldr	x11, [x0, #PT_LR]
	str	x11, [x10, #8]
	ldr	x11, [x0, #PT_FP]
	str	x11, [x10, #16]
	adr	x11, __kretprobe_trampoline
	str	x11, [x0, #PT_LR]
	str	x11, [x0, #PT_X9]			// `mov x9, x30` was replaced, or a NOP, after which x9 holds nothing
	adr	x9, rethooks_boot
	ldr	x11, [x9]
	str	x11, [x10]
	str	x10, [x9]
	LEAVE
END kprobe_brk_handler

// x0: pt_regs.
FUNC kretprobe_brk_handler
							// CFA=sp RA=x30
	ENTER	32
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -16; .cfi_offset x20, -8
	adr	x19, rethooks_boot
	ldr	x20, [x19]
	ldr	x9, [x20, #8]
	str	x9, [x0, #PT_PC]			// from here on the address is there and on the list
	mov	x0, x20
	bl	trace_return
	ldr	x9, [x20]
	str	x9, [x19]				// from here on it is only there
	adr	x9, kretprobe_instances
	sub	x20, x20, x9
	adr	x9, free_instance
	str	x20, [x9]
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	LEAVE	32
END kretprobe_brk_handler

	nop						// no code ends right before the trampoline
// Where probed functions return to: SP and all registers but x30 are as after the call.
CODE __kretprobe_trampoline
	brk	#6
END_CODE __kretprobe_trampoline

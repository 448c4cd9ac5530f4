// Kretprobes over ftrace, for the boot task only. A guest defines kretprobe_brk_handler as its BRK_HANDLER, and includes
// kernel.S and kernel_fgraph.S before this file.

// An instance: next, return address, frame pointer.
WORD rethooks_boot
WORD rethooks_other
WORD kretprobe_instances, 96
WORD free_instance

	.data
	.p2align 3
kprobe_ops:
	.quad kprobe_ftrace_handler, 0

// x0: the patched call, x1: the probed function's return address, x2: ops, x3: fregs.
FUNC kprobe_ftrace_handler
							// CFA=sp RA=x30
	ENTER
	adr	x9, free_instance
	ldr	x10, [x9]
	add	x11, x10, #24
	str	x11, [x9]
	adr	x11, kretprobe_instances
	add	x10, x10, x11
	ldr	x11, [x3, #FREGS_LR]
	str	x11, [x10, #8]
	ldr	x11, [x3, #FREGS_FP]
	str	x11, [x10, #16]
	adr	x11, __kretprobe_trampoline
	str	x11, [x3, #FREGS_LR]
	adr	x9, rethooks_boot
	ldr	x11, [x9]
	str	x11, [x10]
	str	x10, [x9]
	LEAVE
END kprobe_ftrace_handler

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

// The kernel's side of SDEI (Arm DEN 0054), for the guests that the harness, as the firmware, interrupts by events. Include
// it after kernel.S. The firmware keeps x0..x17, pc and PSTATE of the interrupted code; whatever else the handler changes,
// it restores itself. One event is handled at a time.
//
// An event can arrive at any instruction: SP may be a scratch register, and ELR_EL1 and SPSR_EL1 the only copy of an
// exception's state. So no register is saved on the interrupted stack, and no system register but SP_EL0 is written.

STACK sdei_normal, 0x4000
#ifdef SCS
STACK scs_sdei_normal, 0x1000
#endif

// The registered event: pt_regs, without a metadata record; then SP of EL1.
#define EVENT_SP	320
#define EVENT_SIZE	336
WORD sdei_event, EVENT_SIZE

#define SDEI_EVENT_CONTEXT	0x24			// and 0xc4000000, which comes next
#define SDEI_EVENT_COMPLETE	0x25

// Entered by the firmware. x0: the number of the event, x1: the registered event, x2: the interrupted pc, x3: the
// interrupted PSTATE; x4..x30, SP and SP_EL0 still hold the interrupted values.
CODE sdei_entry
	stp	x4, x5, [x1, #32]
	stp	x6, x7, [x1, #48]
	stp	x8, x9, [x1, #64]
	stp	x10, x11, [x1, #80]
	stp	x12, x13, [x1, #96]
	stp	x14, x15, [x1, #112]
	stp	x16, x17, [x1, #128]
	stp	x18, x19, [x1, #144]
	stp	x20, x21, [x1, #160]
	stp	x22, x23, [x1, #176]
	stp	x24, x25, [x1, #192]
	stp	x26, x27, [x1, #208]
	stp	x28, x29, [x1, #224]
	mov	x4, sp
	mrs	x28, sp_el0				// the interrupted value, until the handler has returned
	str	x4, [x1, #EVENT_SP]
	ands	x6, x3, #0xc				// 0: from user mode
	csel	x4, x28, x4, eq
	stp	x30, x4, [x1, #PT_LR]			// and SP, of the interrupted level
	stp	x2, x3, [x1, #PT_PC]
	mov	x19, x1
	adr	x5, __stack_sdei_normal_high
	ldr	x5, [x5]
	mov	sp, x5					// the interrupted SP is only in the event
#ifdef SCS
	adr	x5, __stack_scs_sdei_normal_low
	ldr	x18, [x5]
#endif
	adr	x5, __entry_task
	ldr	x5, [x5]
	msr	sp_el0, x5				// current; during a switch of tasks, the next one before SP is its
	cmp	x6, #0
	csel	x29, xzr, x29, eq			// from the kernel, an ordinary record: no mark of a boundary;
	csel	x4, xzr, x2, eq				// from user mode, zeros
	stp	x29, x4, [sp, #-16]!
	mov	x29, sp					// x29 points at the record of the interrupted code
	mov	x0, x19
	bl	do_sdei_event
	msr	sp_el0, x28
	mov	x4, x19					// x0..x17 may change: the firmware restores them
	ldp	x18, x19, [x4, #144]
	ldp	x20, x21, [x4, #160]
	ldp	x22, x23, [x4, #176]
	ldp	x24, x25, [x4, #192]
	ldp	x26, x27, [x4, #208]
	ldp	x28, x29, [x4, #224]			// x29 holds the interrupted value
	ldr	x30, [x4, #PT_LR]
	ldr	x5, [x4, #EVENT_SP]
	mov	sp, x5					// SP holds the interrupted value
	mov	x0, #SDEI_EVENT_COMPLETE
	movk	x0, #0xc400, lsl #16
	smc	#0					// the firmware returns to the interrupted code
END_CODE sdei_entry

// The C code of an event. x0: the registered event. The firmware's copies of x0..x3 complete its pt_regs.
FUNC do_sdei_event
							// CFA=sp RA=x30
	ENTER	32
	stp	x19, x20, [sp, #16]
	.cfi_offset x19, -16; .cfi_offset x20, -8
	mov	x19, x0
	mov	x20, xzr
1:	mov	x0, #SDEI_EVENT_CONTEXT
	movk	x0, #0xc400, lsl #16
	mov	x1, x20
	smc	#0
	str	x0, [x19, x20, lsl #3]
	add	x20, x20, #1
	cmp	x20, #4
	b.ne	1b
	mov	x0, x19
	bl	handle
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19; .cfi_restore x20
	LEAVE	32
END do_sdei_event

// Prologues and epilogues, as a compiler makes them: with a frame record, or with -DUNWINDER_ORC without one, because a kernel
// that is unwound by ORC is compiled without frame pointers (UNWINDER_ORC and FRAME_POINTER exclude each other).
//
// At the entry CFA=rsp+8 RA=[cfa-8]. After ENTER: CFA=rbp+16 with a record, still CFA=rsp+8 without. SAVE and RESTORE keep a
// callee-saved register on the stack, ALLOC and FREE move rsp; only without a record do they move the CFA's offset.

.macro ENTER
#ifdef UNWINDER_ORC
	.set	.Lrecord, 0
	.set	.Lsaved, 0
#else
	ENTER_RECORD
#endif
.endm

// The end of a frame, and the return.
.macro LEAVE
	UNLINK
	ret
.endm

.macro UNLINK
#ifndef UNWINDER_ORC
	UNLINK_RECORD
#endif
.endm

// With a record in any case, as compilers make it in functions whose frame has no fixed size, and as user mode has it here.
.macro ENTER_RECORD
	.set	.Lrecord, 1
	.set	.Lsaved, 0
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
.endm

.macro LEAVE_RECORD
	UNLINK_RECORD
	ret
.endm

.macro UNLINK_RECORD
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
.endm

.macro SAVE register
	ALLOCATED 8
	pushq	\register
	.if	.Lrecord
	.cfi_offset \register, -16 - .Lsaved
	.else
	.cfi_adjust_cfa_offset 8; .cfi_offset \register, -8 - .Lsaved
	.endif
.endm

.macro RESTORE register
	popq	\register
	.if	.Lrecord == 0
	.cfi_adjust_cfa_offset -8
	.endif
	.cfi_restore \register
.endm

.macro ALLOC bytes
	ALLOCATED \bytes
	subq	$\bytes, %rsp
	.if	.Lrecord == 0
	.cfi_adjust_cfa_offset \bytes
	.endif
.endm

.macro FREE bytes
	addq	$\bytes, %rsp
	.if	.Lrecord == 0
	.cfi_adjust_cfa_offset -(\bytes)
	.endif
.endm

// After a push or a pop of something that no rule names.
.macro RSP_LOWER bytes
	.if	.Lrecord == 0
	.cfi_adjust_cfa_offset \bytes
	.endif
.endm

.macro ALLOCATED bytes
	.set	.Lsaved, .Lsaved + \bytes
.endm

// A pt_regs's address as a frame pointer, where there are frame pointers: a walk along rbp finds pt_regs by the lowest bit.
.macro ENCODE_FRAME_POINTER offset=0
#ifndef UNWINDER_ORC
	leaq	\offset+1(%rsp), %rbp
#endif
.endm

// rsp moves to the IRQ stack, whose topmost word r11 points at, after ENTER and SAVEs; and back. What was called has its return
// address on the other stack: with a record rbp leads there, without one the topmost word, at rsp.
.macro ON_IRQ_STACK
	movq	%rsp, (%r11)			// the way back
	movq	%r11, %rsp			// rsp on the IRQ stack
#ifdef UNWINDER_ORC
	.cfi_remember_state
	.cfi_escape 0x0f, 5, 0x77, 0, 0x06, 0x23, 8 + .Lsaved	// the CFA is [rsp] + 8 + .Lsaved
	ORC_SP_INDIRECT 8 + .Lsaved
#else
	ORC_SP_INDIRECT 16 + .Lsaved, -16
#endif
.endm

.macro OFF_IRQ_STACK
	popq	%rsp
#ifdef UNWINDER_ORC
	.cfi_restore_state
#endif
	ORC_CFI
.endm

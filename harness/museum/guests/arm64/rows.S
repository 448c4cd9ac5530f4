//@ build rows-defective: -DDEFECTIVE
//@ build rows-fixed:
// Rows that were wrong in released compilers, runtimes and assembly. Each function is a bug of its own; museum/exhibits has the
// reports.
#include "pair.h"
#include "frame.S"

STACK irq, 0x1000

FUNC guest_main
						// CFA=sp RA=x30
	ENTER
	mov	x0, #0
	bl	helper
	mov	x0, #1
	bl	helper
	bl	offset_after_fp
	bl	probed
	bl	outlining
	bl	call_on_stack
	bl	isr_wrapper
	bl	swap_context
	bl	half_stored
	mov	x0, #1
	bl	push_lr
	LEAVE
END guest_main

// A runtime's helper with a fast way out. Behind it the rows are those of its last instruction.
FUNC helper
						// CFA=sp RA=x30
	ENTER 32				// CFA=x29+32 RA=[cfa-24]
	cbnz	x0, 1f
	FIX(.cfi_remember_state)
	LEAVE 32				// CFA=sp RA=x30
	FIX(.cfi_restore_state)
1:	mov	x1, #1				// CFA=x29+32 RA=[cfa-24]
	str	x1, [sp, #16]
	ldr	x0, [sp, #16]
	LEAVE 32				// CFA=sp RA=x30
END helper

// The local frame is counted though the CFA is counted from the frame pointer by then.
FUNC offset_after_fp
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa_register x29
	sub	sp, sp, #48
	BUG(.cfi_def_cfa_offset 64)
	str	x0, [sp]
	bl	offset_after_fp_leaf
	add	sp, sp, #48
	BUG(.cfi_def_cfa_offset 16)
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END offset_after_fp

FUNC offset_after_fp_leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END offset_after_fp_leaf

// A probe loop makes the prologue three blocks. What puts the rows right in an early epilogue takes it for one, and gives the block
// behind the state of the first.
FUNC probed
						// CFA=sp RA=x30
	mov	x9, #4
	sub	x10, sp, #256			// CFA=x10+256
	.cfi_remember_state
	.cfi_def_cfa x10, 256
1:	sub	sp, sp, #64
	str	xzr, [sp]
	subs	x9, x9, #1
	b.ne	1b
	.cfi_def_cfa sp, 256			// CFA=sp+256
	cbz	x30, 2f
	BUG(.cfi_restore_state)
	FIX(.cfi_remember_state)
	str	x0, [sp, #8]
	ldr	x0, [sp, #8]
	add	sp, sp, #256			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
	FIX(.cfi_restore_state)
2:	brk	#1
END probed

// The link register is saved around an outlined call, as if nothing had happened.
FUNC outlining
						// CFA=sp RA=x30
	mov	x0, #1
	str	x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-16]
	FIX(.cfi_def_cfa_offset 16; .cfi_offset x30, -16)
	bl	outlined
	ldr	x30, [sp], #16			// CFA=sp RA=x30
	FIX(.cfi_def_cfa_offset 0; .cfi_restore x30)
	ret
END outlining

FUNC outlined
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END outlined

// The caller of the IRQ stack's functions: its rows begin to count from x29 one instruction late.
FUNC call_on_stack
						// CFA=sp RA=x30
	adr	x1, __stack_irq_high
	ldr	x1, [x1]
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	FIX(.cfi_def_cfa_register x29)
	mov	sp, x1
	bl	call_on_stack_leaf
	BUG(.cfi_def_cfa_register x29)
	mov	sp, x29
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END call_on_stack

FUNC call_on_stack_leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END call_on_stack_leaf

// A wrapper of interrupt handlers changes to the interrupt stack, and its rows go on to count from sp.
FUNC isr_wrapper
						// CFA=sp RA=x30
	stp	x19, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x19, -16; .cfi_offset x30, -8
	adr	x1, __stack_irq_high
	ldr	x1, [x1]
	mov	x19, sp				// CFA=x19+16
	FIX(.cfi_def_cfa_register x19)
	mov	sp, x1
	bl	isr_handler
	mov	sp, x19
	FIX(.cfi_def_cfa_register sp)
	ldp	x19, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x19; .cfi_restore x30
	ret
END isr_wrapper

FUNC isr_handler
						// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END isr_handler

// It stores the context, and its third instruction already overwrites the link register, of which no row tells.
FUNC swap_context
						// CFA=sp RA=x30
	adr	x0, context
	str	x30, [x0, #8]
	mov	x2, x30				// CFA=sp RA=x2
	FIX(.cfi_register x30, x2)
	mov	x30, #0
	mov	x1, sp
	str	x1, [x0]
	mov	x30, x2				// CFA=sp RA=x30
	FIX(.cfi_restore x30)
	ret
END swap_context

	.data
	.p2align 3
context:
	.quad	0, 0
	.text

// The halves of a record are stored one after the other, below the frame pointer that is set already.
FUNC half_stored
						// CFA=sp RA=x30
#ifdef DEFECTIVE
	sub	sp, sp, #16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	str	x29, [sp]			// CFA=sp+16
	.cfi_offset x29, -16
	mov	x29, sp				// CFA=sp+16: a record without its second half
	str	x30, [sp, #8]
	.cfi_offset x30, -8
#else
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp
#endif
	mov	x0, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END half_stored

// Assembly of a cipher that is declared a leaf, and pushes a frame to call a helper.
FUNC push_lr
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	FIX(.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24)
	mov	x29, sp
	bl	push_lr_block
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	FIX(.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30)
	ret
END push_lr

FUNC push_lr_block
						// CFA=sp RA=x30
	eor	x0, x0, #1
	ret
END push_lr_block

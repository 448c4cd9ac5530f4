// A second stack: `call_on_irq_stack` leaves a frame record on the task stack, points x29 at it, and calls a function with
// SP at the high end of the IRQ stack. Between the two switches SP and x29 are on different stacks, and only x29 leads
// back.
#include "guest.h"

STACK irq, 0x4000

FUNC guest_main
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	do_irq
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

FUNC do_irq
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp				// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x0, #1
	adr	x1, first_handler
	bl	call_on_irq_stack
	mov	x19, x0
	adr	x1, second_handler
	bl	call_on_irq_stack
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END do_irq

// x0: the argument for the function, x1: the function. Returns what the function returns.
FUNC call_on_irq_stack
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	adrp	x2, __stack_irq_high
	ldr	x2, [x2, :lo12:__stack_irq_high]
	mov	sp, x2				// SP on the IRQ stack; CFA, RA and x29 on the task stack
	blr	x1
	mov	sp, x29				// back; CFA=sp+16 too
	.cfi_def_cfa sp, 16
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x29; .cfi_restore x30
	ret
END call_on_irq_stack

FUNC first_handler
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!		// CFA=sp+16 RA=[cfa-8]; links the IRQ stack to the task stack
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp				// CFA=x29+16
	.cfi_def_cfa x29, 16
	bl	leaf
	add	x0, x0, #1
	ldp	x29, x30, [sp], #16		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END first_handler

FUNC second_handler
						// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!		// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp				// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	mov	x19, x0
	bl	leaf
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32		// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END second_handler

FUNC leaf
						// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

//@ build irq_stack_s0-defective: -DDEFECTIVE
//@ build irq_stack_s0-fixed:
// A call on the IRQ stack keeps the old sp in s0, of which the compiler was not told: the caller's s0 is lost.
#include "pair.h"

STACK irq, 0x1000

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	call	on_irq_stack
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC on_irq_stack
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	FIX(sd	s0, 0(sp); .cfi_offset s0, -16)
	la	t0, __stack_irq_high
	ld	t0, 0(t0)
	mv	s0, sp				// CFA=s0+16
	.cfi_def_cfa_register s0
	mv	sp, t0
	call	handler
	mv	sp, s0				// CFA=sp+16
	.cfi_def_cfa_register sp
	FIX(ld	s0, 0(sp); .cfi_restore s0)
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END on_irq_stack

FUNC handler
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END handler

// Two fibers beside the main stack: they switch among themselves, resume where they waited, and go deeper between. One calls a
// function on a stack that is nobody's, which is no switch of fibers.
#include "guest.h"

STACK a, 0x1000
STACK b, 0x1000
STACK shared, 0x1000

	.pushsection .scratch, "aw"
	.p2align 3
main_sp: .quad 0
a_sp: .quad 0
b_sp: .quad 0
	.popsection

// SWITCH from, to: the running fiber's context goes to the word `from`, and the one in the word `to` runs.
.macro SWITCH from, to
	lla	a0, \from
	lla	a1, \to
	call	switch_to
.endm

// NEW fiber, entry: its context, so that it begins in `entry`, with s0 zero.
.macro NEW fiber, entry
	ld	a1, __stack_\fiber\()_high
	addi	a1, a1, -32
	lla	a2, \entry
	sd	a2, 24(a1)
	sd	zero, 16(a1)
	lla	a2, \fiber\()_sp
	sd	a1, 0(a2)
.endm

// At the entry CFA=sp RA=ra.
.macro ENTER
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// CFA=sp+16 RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
.endm

.macro LEAVE
	ld	ra, 8(sp)			// CFA=s0 RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_restore s0; .cfi_def_cfa sp, 16
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
.endm

FUNC guest_main
						// CFA=sp RA=ra
	ENTER
	NEW	a, a_main
	NEW	b, b_main
	SWITCH	main_sp, a_sp
	call	leaf
	SWITCH	main_sp, b_sp
	LEAVE
END guest_main

// Keeps ra, s0 and s1.
FUNC switch_to
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// CFA=sp+32 RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	sd	sp, 0(a0)
	ld	sp, 0(a1)			// the same of the other stack
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	s0, 16(sp)
	.cfi_restore s0
	ld	ra, 24(sp)			// CFA=sp+32 RA=ra
	.cfi_restore ra
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END switch_to

FUNC a_main
	.cfi_undefined ra			// the fiber's first function
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	zero, 8(sp)
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16
	call	a_deeper
	SWITCH	a_sp, b_sp
	ebreak
END a_main

FUNC a_deeper
						// CFA=sp RA=ra
	ENTER
	SWITCH	a_sp, b_sp
	call	leaf
	LEAVE
END a_deeper

FUNC b_main
	.cfi_undefined ra			// the fiber's first function
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	zero, 8(sp)
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16
	call	on_shared
	SWITCH	b_sp, main_sp
	SWITCH	b_sp, a_sp
	SWITCH	b_sp, main_sp
	ebreak
END b_main

// Calls leaf on a stack that belongs to no fiber.
FUNC on_shared
						// CFA=sp RA=ra
	ENTER
	ld	a1, __stack_shared_high
	mv	sp, a1
	call	leaf
	addi	sp, s0, -16
	LEAVE
END on_shared

FUNC leaf
						// CFA=sp RA=ra
	li	a3, 1
	ret
END leaf

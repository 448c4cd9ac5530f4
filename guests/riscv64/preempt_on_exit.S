//@ start none
//@ build preempt_on_exit:
//@ build preempt_on_exit-metadata: -DMETADATA
// Preempted: the way out of an interrupt lets the second task run, which has the first one walked. Behind its pt_regs
// lies whatever was interrupted: prologues, a leaf, callee-saved registers in use.
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s0, 16(sp)
	sd	s1, 8(sp)
	sd	s2, 0(sp)
	addi	s0, sp, 32			// CFA=s0
	li	s1, 11
	li	s2, 12
	mv	a0, s1
	call	work
	add	s1, s1, a0
	mv	a0, s2
	call	work
	add	a0, a0, s1
	add	a0, a0, s2
	ld	s2, 0(sp)
	ld	s1, 8(sp)
	ld	ra, 24(sp)			// RA=ra
	ld	s0, 16(sp)			// CFA=sp+32
	addi	sp, sp, 32			// CFA=sp
	ret
END guest_main

FUNC work
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s0, 16(sp)
	sd	s1, 8(sp)
	addi	s0, sp, 32			// CFA=s0
	mv	s1, a0
	call	leaf
	add	a0, a0, s1
	ld	s1, 8(sp)
	ld	ra, 24(sp)			// RA=ra
	ld	s0, 16(sp)			// CFA=sp+32
	addi	sp, sp, 32			// CFA=sp
	ret
END work

FUNC leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

//@ start none
//@ build corrupt_stack:
//@ build corrupt_stack-metadata: -DMETADATA
// A plain chain, six deep with a leaf: the harness breaks its frame records before it has it walked.
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	li	a0, 1
	call	chain_1
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END guest_main

FUNC chain_1
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, 1
	call	chain_2
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END chain_1

FUNC chain_2
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, 2
	call	chain_3
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END chain_2

FUNC chain_3
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, 3
	call	chain_4
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END chain_3

FUNC chain_4
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, 4
	call	chain_5
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END chain_4

FUNC chain_5
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, 5
	call	leaf
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END chain_5

FUNC leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

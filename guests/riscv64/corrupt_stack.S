//@ start none
//@ build corrupt_stack:
//@ build corrupt_stack-metadata: -DMETADATA
// A plain chain, six deep with a leaf: the harness damages its frame records before it has the task walked.
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	li	a0, 1
	call	chain_1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

.macro LINK name, next, value
FUNC \name
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	addi	a0, a0, \value
	call	\next
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END \name
.endm

LINK chain_1, chain_2, 1
LINK chain_2, chain_3, 2
LINK chain_3, chain_4, 3
LINK chain_4, chain_5, 4
LINK chain_5, leaf, 5

FUNC leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	xori	a0, a0, 2
	ret
END leaf

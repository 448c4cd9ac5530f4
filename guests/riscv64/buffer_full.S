//@ start none
//@ build buffer_full:
//@ build buffer_full-metadata: -DMETADATA
// More functions than the 100 entries that a livepatch has room for: 110 of one function, then a leaf.
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	li	a0, 110
	call	recurse
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END guest_main

// a0: how many of these, this one included.
FUNC recurse
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	addi	a0, a0, -1
	beqz	a0, 1f
	call	recurse
	j	2f
1:	call	leaf
2:
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END recurse

FUNC leaf
						// CFA=sp RA=ra
	li	a0, 1
	addi	a0, a0, 2
	ret
END leaf

//@ start none
//@ build leaf_s0_in_ra_slot:
//@ build leaf_s0_in_ra_slot-metadata: -DMETADATA
// gcc's shape of a leaf with a frame pointer: it saves only s0, where other functions save the return address, and the word
// below may be a local. s0 looks like a frame pointer, but there is no record.
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
	li	a0, 5
	call	caller
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC caller
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s1, a0
	call	leaf
	add	a0, a0, s1
	call	leaf_with_local
	add	a0, a0, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 16(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END caller

FUNC leaf
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	s0, 8(sp)			// s0=[cfa-8]
	.cfi_offset s0, -8
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	slli	a0, a0, 1
	ld	s0, 8(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END leaf

FUNC leaf_with_local
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	s0, 24(sp)			// s0=[cfa-8]
	.cfi_offset s0, -8
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	sd	a0, -16(s0)			// a local, where a record has the caller's s0
	sd	a0, -24(s0)
	ld	a1, -16(s0)
	ld	a0, -24(s0)
	add	a0, a0, a1
	ld	s0, 24(sp)			// CFA=sp+32
	.cfi_def_cfa sp, 32; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END leaf_with_local

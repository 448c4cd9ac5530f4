//@ start none
//@ build fake_metadata:
//@ build fake_metadata-metadata: -DMETADATA
// Locals that look like metadata: above each frame record, where a metadata record has its type, lies 1, 2 or 3, and {0, 0,
// type} lies between records. None of it is metadata, because the records themselves are not zero.
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
	call	type_1
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC type_1
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	li	t0, 1
	sd	t0, 0(sp)			// the word above the record of the function called next
	sd	zero, 8(sp)
	sd	zero, 16(sp)
	sd	t0, 24(sp)			// {0, 0, 1} below this record, too
	call	type_2
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END type_1

FUNC type_2
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	li	t0, 2
	sd	t0, 0(sp)			// the word above the record of the function called next
	sd	zero, 8(sp)
	sd	zero, 16(sp)
	sd	t0, 24(sp)			// {0, 0, 2} below this record, too
	call	type_3
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END type_2

FUNC type_3
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	li	t0, 3
	sd	t0, 0(sp)			// the word above the record of the function called next
	sd	zero, 8(sp)
	sd	zero, 16(sp)
	sd	t0, 24(sp)			// {0, 0, 3} below this record, too
	call	inner
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END type_3

FUNC inner
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	leaf
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END inner

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

//@ start none
//@ build blocked_task:
//@ build blocked_task-metadata: -DMETADATA
// A task that gives up the CPU voluntarily, three times: from the function that boot calls, from one below it, and from one
// that keeps values in callee-saved registers. The second task has it walked each time.
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
	call	schedule
	call	wait_for
	li	a0, 9
	call	wait_with_values
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC wait_for
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	schedule
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END wait_for

FUNC wait_with_values
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	sd	s1, 24(sp)
	.cfi_offset s1, -24
	sd	s2, 16(sp)
	.cfi_offset s2, -32
	sd	s3, 8(sp)
	.cfi_offset s3, -40
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	mv	s1, a0
	addi	s2, a0, 1
	slli	s3, a0, 4
	call	schedule
	call	wait_for
	add	a0, s1, s2
	add	a0, a0, s3
	ld	s3, 8(sp)
	.cfi_restore s3
	ld	s2, 16(sp)
	.cfi_restore s2
	ld	s1, 24(sp)
	.cfi_restore s1
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END wait_with_values

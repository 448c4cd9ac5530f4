//@ build rows-defective: -DDEFECTIVE
//@ build rows-fixed:
// Rows and frame records that were wrong in released compilers and assembly. Each function is a bug of its own; museum/exhibits has
// the reports.
#include "pair.h"

.macro ENTER
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
.endm

.macro LEAVE
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
.endm

FUNC guest_main
						// CFA=sp RA=ra
	ENTER
	call	probed
	call	two_steps
	call	no_epilogue
	call	counted_twice
	call	record_at_fp
	call	says_no_caller
	call	stub
	LEAVE
END guest_main

// A prologue with a stack probe: what it takes for the saved registers counts in no row.
FUNC probed
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	FIX(.cfi_def_cfa_offset 32)
	sd	ra, 24(sp)			// RA=[cfa-8]
	FIX(.cfi_offset ra, -8)
	addi	t1, sp, -256			// CFA=t1+288
	BUG(.cfi_def_cfa t1, 256)
	FIX(.cfi_def_cfa t1, 288)
1:	addi	sp, sp, -64
	sd	zero, 0(sp)
	bne	sp, t1, 1b
	BUG(.cfi_def_cfa sp, 256)
	FIX(.cfi_def_cfa sp, 288)
	BUG(.cfi_offset ra, -8)
	call	probed_leaf
	addi	sp, sp, 256			// CFA=sp+32
	.cfi_def_cfa_offset 32
	ld	ra, 24(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END probed

FUNC probed_leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END probed_leaf

// A frame that is larger than an immediate is made in two steps, and the row comes after the second one.
FUNC two_steps
						// CFA=sp RA=ra
	addi	sp, sp, -2032			// CFA=sp+2032
	FIX(.cfi_def_cfa_offset 2032)
	addi	sp, sp, -1024			// CFA=sp+3056
	.cfi_def_cfa_offset 3056
	sd	zero, 0(sp)
	addi	sp, sp, 1024			// CFA=sp+2032
	.cfi_def_cfa_offset 2032
	addi	sp, sp, 2032			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END two_steps

// An epilogue has no rows: what was saved stays in memory, and the CFA where it was.
FUNC no_epilogue
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s1, 16(sp)
	.cfi_offset ra, -8
	.cfi_offset s1, -16
	li	s1, 1
	ld	ra, 24(sp)			// RA=ra
	ld	s1, 16(sp)
	FIX(.cfi_restore ra; .cfi_restore s1)
	addi	sp, sp, 32			// CFA=sp
	FIX(.cfi_def_cfa_offset 0)
	ret
END no_epilogue

// The area of the scalar registers counts twice, when that of the vector registers is added. Without either extension.
FUNC counted_twice
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s1, 16(sp)
	.cfi_offset ra, -8; .cfi_offset s1, -16
	addi	sp, sp, -64			// CFA=sp+96
	BUG(.cfi_def_cfa_offset 128)
	FIX(.cfi_def_cfa_offset 96)
	li	s1, 1
	sd	s1, 0(sp)
	addi	sp, sp, 64			// CFA=sp+32
	.cfi_def_cfa_offset 32
	ld	ra, 24(sp)			// RA=ra
	ld	s1, 16(sp)
	.cfi_restore ra; .cfi_restore s1
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END counted_twice

// The frame pointer points at the record, where the ABI has it one record higher.
FUNC record_at_fp
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s0, 16(sp)
	.cfi_offset ra, -8; .cfi_offset s0, -16
	BUG(addi	s0, sp, 16)
	FIX(addi	s0, sp, 32)
	sd	zero, 0(sp)
	sd	zero, 8(sp)
	li	a0, 1
	ld	ra, 24(sp)			// RA=ra
	ld	s0, 16(sp)
	.cfi_restore ra; .cfi_restore s0
	addi	sp, sp, 32			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END record_at_fp

// A leaf without a rule for its return address is taken for one without a return address. Here the row says so.
FUNC says_no_caller
						// CFA=sp RA=ra
	BUG(.cfi_undefined ra)
	addi	a0, a0, 1
	ret
END says_no_caller

// A stub of a system call has no table. The fence stands for the system call.
#ifdef DEFECTIVE
CODE stub
#else
FUNC stub
#endif
						// CFA=sp RA=ra
	li	a7, 64
	fence
	ret
	FIX(.cfi_endproc)
END_CODE stub

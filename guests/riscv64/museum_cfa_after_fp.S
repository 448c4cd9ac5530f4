//@ build museum_cfa_after_fp-defective: -DDEFECTIVE
//@ build museum_cfa_after_fp-fixed:
// ziglang/zig #3478 (LLVM's frames for RISC-V): a large frame is built and taken down in two steps, the first one as
// far as an immediate reaches. The defective build gives the CFA a new offset whenever SP moves, although it is s0's
// from the first step on; and where it is SP's again, the offset is that of the whole frame.
#include "guest.h"

#define FIRST	2032
#define SECOND	1024

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
	li	a0, 3
	call	large
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC large
						// CFA=sp RA=ra
	addi	sp, sp, -FIRST			// CFA=sp+2032
	.cfi_def_cfa_offset FIRST
	sd	ra, FIRST-8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, FIRST-16(sp)
	.cfi_offset s0, -16
	addi	s0, sp, FIRST			// CFA=s0
	.cfi_def_cfa s0, 0
	addi	sp, sp, -SECOND
#ifdef DEFECTIVE
	.cfi_def_cfa_offset FIRST+SECOND
#endif
	call	leaf
	addi	sp, sp, SECOND
#ifdef DEFECTIVE
	.cfi_def_cfa_offset FIRST
#endif
	ld	s0, FIRST-16(sp)		// CFA=sp+2032
#ifdef DEFECTIVE
	.cfi_def_cfa sp, FIRST+SECOND
#else
	.cfi_def_cfa sp, FIRST
#endif
	.cfi_restore s0
	ld	ra, FIRST-8(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, FIRST			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END large

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

//@ build museum_millicode-defective: -DDEFECTIVE
//@ build museum_millicode-fixed:
// -msave-restore: a prologue calls a shared routine with t0 as its link register; it makes the caller's frame, saves registers in it,
// and comes back by t0. The epilogue is a tail call to another. The routine has two entries, which make frames of two sizes and come
// together; in between, sp is not what one row for both says (defective). riscvarchive/riscv-gcc #48 (libgcc's save-restore.S).
#include "guest.h"

// The return address has a column of its own in the routine's CIE; clang 14 writes only one CIE to a .debug_frame.
	.cfi_sections .eh_frame

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// CFA=sp+16 RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	li	a0, 3
	call	user
	call	deep
	ld	ra, 8(sp)			// CFA=sp+16 RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)
	.cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

FUNC user
						// CFA=sp RA=ra
	jal	t0, save_2			// CFA=sp+112 RA=[cfa-8]
	.cfi_def_cfa_offset 112; .cfi_offset ra, -8; .cfi_offset s0, -16; .cfi_offset s1, -24
	mv	s1, a0
	call	leaf
	add	a0, a0, s1
	tail	restore_2
END user

FUNC deep
						// CFA=sp RA=ra
	jal	t0, save_10			// CFA=sp+112 RA=[cfa-8]
	.cfi_def_cfa_offset 112; .cfi_offset ra, -8; .cfi_offset s0, -16; .cfi_offset s1, -24
	mv	s1, a0
	call	leaf
	add	a0, a0, s1
	tail	restore_2
END deep

// The CFA is sp at its entry; who called it goes on at t0.
FUNC save_10
						// CFA=sp RA=t0
	.cfi_return_column 5; .cfi_same_value ra
	li	t1, 0
	addi	sp, sp, -112			// CFA=sp+112
	.cfi_def_cfa_offset 112
	j	save_both
END save_10

FUNC save_2
						// CFA=sp RA=t0
	.cfi_return_column 5; .cfi_same_value ra
	li	t1, -80
	addi	sp, sp, -112			// CFA=sp+112
	.cfi_def_cfa_offset 112
	sub	sp, sp, t1			// CFA=sp+32
#ifndef DEFECTIVE
	.cfi_def_cfa_offset 32
#endif
	add	sp, sp, t1			// CFA=sp+112
	.cfi_def_cfa_offset 112
	j	save_both
END save_2

FUNC save_both
						// CFA=sp+112 RA=t0
	.cfi_return_column 5; .cfi_same_value ra
	.cfi_def_cfa_offset 112
	sd	s1, 88(sp)
	.cfi_offset s1, -24
	sd	s0, 96(sp)
	.cfi_offset s0, -16
	sd	ra, 104(sp)
	jr	t0
END save_both

FUNC restore_2
						// CFA=sp+112 RA=[cfa-8]
	.cfi_def_cfa_offset 112; .cfi_offset ra, -8; .cfi_offset s0, -16; .cfi_offset s1, -24
	ld	s1, 88(sp)
	.cfi_restore s1
	ld	s0, 96(sp)
	.cfi_restore s0
	ld	ra, 104(sp)			// CFA=sp+112 RA=ra
	.cfi_restore ra
	addi	sp, sp, 112			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END restore_2

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

// The return address is in a register other than ra. `move_two` calls the subroutine `move_word` with `jal t0`: while it
// runs, its return address is in t0 and that of `move_two` in ra. `kept_in_t6` holds its return address in t6 across an
// ordinary call. None of the three has a frame record.
#include "guest.h"

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
	call	caller
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 0(sp)			// CFA=sp+16
	.cfi_def_cfa sp, 16; .cfi_restore s0
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

// A frame of 48 bytes: the record, two words to move and the place for them.
FUNC caller
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	.cfi_def_cfa_offset 48
	sd	ra, 40(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 32(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 48			// CFA=s0
	.cfi_def_cfa s0, 0
	li	a0, 3
	sd	a0, 16(sp)
	sd	a0, 24(sp)
	mv	a0, sp
	addi	a1, sp, 16
	call	move_two
	call	kept_in_t6
	ld	ra, 40(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 32(sp)			// CFA=sp+48
	.cfi_def_cfa sp, 48; .cfi_restore s0
	addi	sp, sp, 48			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END caller

// a0: to, a1: from. Its own return address stays in ra throughout.
FUNC move_two
						// CFA=sp RA=ra
	jal	t0, move_word
	addi	a0, a0, 8
	addi	a1, a1, 8
	jal	t0, move_word
	ld	a0, 0(a0)
	ret
END move_two

// A subroutine with t0 as its link register; must not touch ra.
FUNC move_word
						// CFA=sp RA=t0
	.cfi_register ra, t0
	ld	a2, 0(a1)
	addi	a2, a2, 1
	sd	a2, 0(a0)
	jr	t0
END move_word

FUNC kept_in_t6
						// CFA=sp RA=ra
	addi	a0, a0, 1
	mv	t6, ra				// RA=t6 (ra holds it too until the call)
	.cfi_register ra, t6
	call	helper				// two instructions, and the first already puts another address in ra
	addi	a0, a0, 2
	mv	ra, t6				// RA=ra
	.cfi_restore ra
	addi	a0, a0, 3
	ret
END kept_in_t6

// Must not touch t6.
FUNC helper
						// CFA=sp RA=ra
	xori	a0, a0, 1
	addi	a0, a0, 4
	ret
END helper

// A function without any frame: through the whole of `leaf` the return address is in ra only and s0 is the caller's,
// so a walk by frame records alone skips `caller`. Two calls, so that the same instruction has two different right
// answers.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	li	a0, 5
	call	caller
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END guest_main

FUNC caller
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s0, 16(sp)
	sd	s1, 8(sp)
	addi	s0, sp, 32			// CFA=s0
	call	leaf				// the first place
	mv	s1, a0
	addi	a0, a0, 3
	call	leaf				// the second place
	add	a0, a0, s1
	ld	s1, 8(sp)
	ld	ra, 24(sp)			// RA=ra
	ld	s0, 16(sp)			// CFA=sp+32
	addi	sp, sp, 32			// CFA=sp
	ret
END caller

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	slli	a1, a0, 3
	xor	a0, a0, a1
	andi	a0, a0, 0x7ff
	addi	a0, a0, -2
	ret
END leaf

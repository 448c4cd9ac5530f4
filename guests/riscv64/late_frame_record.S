// Every instruction of a prologue and an epilogue matters: between the entry of `late` and the instruction that makes
// s0 point at the end of its record, and again between the reload of s0 and the return, a walk by frame records alone
// skips the caller.
#include "guest.h"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
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
	addi	s0, sp, 32			// CFA=s0
	sd	s1, 8(sp)
	li	s1, 7
	call	late
	mv	a0, s1
	ld	s1, 8(sp)
	ld	ra, 24(sp)			// RA=ra
	ld	s0, 16(sp)			// CFA=sp+32
	addi	sp, sp, 32			// CFA=sp
	ret
END caller

// The record is stored and linked as late as it can be, and unlinked as early.
FUNC late
						// CFA=sp RA=ra
	addi	sp, sp, -48			// CFA=sp+48
	addi	a0, a0, 1
	sd	s1, 0(sp)
	sd	s2, 8(sp)
	sd	s0, 32(sp)
	sd	ra, 40(sp)			// RA=[cfa-8]; s0 is still the caller's
	mv	s1, a0
	addi	s0, sp, 48			// CFA=s0: the record is linked
	mv	s2, a0
	call	leaf
	add	a0, a0, s1
	ld	s0, 32(sp)			// CFA=sp+48: unlinked
	ld	ra, 40(sp)			// RA=ra
	add	a0, a0, s2
	ld	s1, 0(sp)
	ld	s2, 8(sp)
	addi	a0, a0, 1
	addi	sp, sp, 48			// CFA=sp
	ret
END late

FUNC leaf
						// CFA=sp RA=ra
	addi	a0, a0, 1
	ret
END leaf

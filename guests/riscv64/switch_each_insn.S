//@ start none
//@ build switch_each_insn:
//@ build switch_each_insn-metadata: -DMETADATA
// Interrupted at every instruction of the context switch, in either direction, while every callee-saved register holds a
// value that must survive.
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -112			// CFA=sp+112
	.cfi_def_cfa_offset 112
	sd	ra, 104(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 96(sp)
	.cfi_offset s0, -16
	sd	s1, 88(sp)
	.cfi_offset s1, -24
	sd	s2, 80(sp)
	.cfi_offset s2, -32
	sd	s3, 72(sp)
	.cfi_offset s3, -40
	sd	s4, 64(sp)
	.cfi_offset s4, -48
	sd	s5, 56(sp)
	.cfi_offset s5, -56
	sd	s6, 48(sp)
	.cfi_offset s6, -64
	sd	s7, 40(sp)
	.cfi_offset s7, -72
	sd	s8, 32(sp)
	.cfi_offset s8, -80
	sd	s9, 24(sp)
	.cfi_offset s9, -88
	sd	s10, 16(sp)
	.cfi_offset s10, -96
	sd	s11, 8(sp)
	.cfi_offset s11, -104
	addi	s0, sp, 112			// CFA=s0
	.cfi_def_cfa s0, 0
	li	s1, 256
	li	s2, 257
	li	s3, 258
	li	s4, 259
	li	s5, 260
	li	s6, 261
	li	s7, 262
	li	s8, 263
	li	s9, 264
	li	s10, 265
	li	s11, 266
	call	schedule
	call	schedule
	mv	a0, s1
	xor	a0, a0, s2
	xor	a0, a0, s3
	xor	a0, a0, s4
	xor	a0, a0, s5
	xor	a0, a0, s6
	xor	a0, a0, s7
	xor	a0, a0, s8
	xor	a0, a0, s9
	xor	a0, a0, s10
	xor	a0, a0, s11
	ld	s11, 8(sp)
	.cfi_restore s11
	ld	s10, 16(sp)
	.cfi_restore s10
	ld	s9, 24(sp)
	.cfi_restore s9
	ld	s8, 32(sp)
	.cfi_restore s8
	ld	s7, 40(sp)
	.cfi_restore s7
	ld	s6, 48(sp)
	.cfi_restore s6
	ld	s5, 56(sp)
	.cfi_restore s5
	ld	s4, 64(sp)
	.cfi_restore s4
	ld	s3, 72(sp)
	.cfi_restore s3
	ld	s2, 80(sp)
	.cfi_restore s2
	ld	s1, 88(sp)
	.cfi_restore s1
	ld	ra, 104(sp)			// RA=ra
	.cfi_restore ra
	ld	s0, 96(sp)			// CFA=sp+112
	.cfi_def_cfa sp, 112; .cfi_restore s0
	addi	sp, sp, 112			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END guest_main

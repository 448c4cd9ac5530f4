//@ start none
//@ build leaf_annotated
//@ build leaf_unannotated: -DUNANNOTATED
// String and checksum routines as kernels write them in assembly: no frame, SP untouched, x30 never written, several
// returns. The annotation is true for all of them. Between them lie words that are not code: a tracer's literal before a
// function, a literal pool after one, padding. No row may cover those.
#include "kernel.S"
#include "annotation.S"

	.section .rodata
	.p2align 4
text_a:
	.asciz "abcdefghijklmnopqrs"			// 19 bytes
	.p2align 4
text_b:
	.asciz "abcdefghijklmnopqrz"
	.p2align 4

WORD copy, 32

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-32]!			// CFA=sp+32 RA=[cfa-24]
	.cfi_def_cfa_offset 32; .cfi_offset x29, -32; .cfi_offset x30, -24
	mov	x29, sp					// CFA=x29+32
	.cfi_def_cfa x29, 32
	str	x19, [sp, #16]
	.cfi_offset x19, -16
	ldr	x0, =text_a
	bl	strlen_leaf
	mov	x19, x0
	ldr	x0, =text_a
	ldr	x1, =text_b
	mov	x2, x19
	bl	memcmp_leaf				// leaves by its second return
	ldr	x0, =text_a
	mov	x1, x0
	mov	x2, #4
	bl	memcmp_leaf				// leaves by its first
	adr	x0, copy
	ldr	x1, =text_a
	mov	x2, #24
	bl	memcpy_leaf
	adr	x0, copy
	mov	x1, #3
	bl	checksum_leaf
	add	x0, x0, x19
	ldr	x19, [sp, #16]
	.cfi_restore x19
	ldp	x29, x30, [sp], #32			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main
	.ltorg						// the pool of guest_main: no code, no row

// The length of the string at x0. In a kernel with landing pads every function begins with one.
LEAF strlen_leaf
							// CFA=sp RA=x30
	hint	#34					// bti c
	mov	x1, x0
1:	ldrb	w2, [x1], #1
	cbnz	w2, 1b
	sub	x0, x1, x0
	sub	x0, x0, #1
	ret
END_LEAF strlen_leaf

// The difference of the first differing bytes among x2 bytes at x0 and x1. Two returns, with code after the first.
LEAF memcmp_leaf
							// CFA=sp RA=x30
	hint	#34
1:	ldrb	w3, [x0], #1
	ldrb	w4, [x1], #1
	subs	w5, w3, w4
	b.ne	2f
	subs	x2, x2, #1
	b.ne	1b
	mov	x0, #0
	ret
2:	sxtw	x0, w5
	ret
END_LEAF memcmp_leaf

// A tracer finds what to call for a function in the word before it, which is aligned like a pointer.
	.p2align 4
	.quad	0
	.globl	literal_before_memcpy_leaf
literal_before_memcpy_leaf:
	.quad	memcmp_leaf

// Copies x2 bytes from x1 to x0, pairs of words first. Everything that a compiler would spill is in x6 to x17.
	.globl	memcpy_leaf
	.type	memcpy_leaf, %function
memcpy_leaf:
#ifndef UNANNOTATED
	.cfi_startproc
#endif
							// CFA=sp RA=x30
	hint	#34
	mov	x6, x0
	subs	x2, x2, #16
	b.lo	2f
1:	ldp	x7, x8, [x1], #16
	stp	x7, x8, [x6], #16
	subs	x2, x2, #16
	b.hs	1b
2:	adds	x2, x2, #16
	b.eq	4f
3:	ldrb	w7, [x1], #1
	strb	w7, [x6], #1
	subs	x2, x2, #1
	b.ne	3b
4:	ret
END_LEAF memcpy_leaf

// Mixes x1 words at x0 with a constant from a pool after the function.
LEAF checksum_leaf
							// CFA=sp RA=x30
	hint	#34
	ldr	x3, =0x9e3779b97f4a7c15
	mov	x4, xzr
1:	ldr	x5, [x0], #8
	eor	x4, x4, x5
	mul	x4, x4, x3
	sub	x1, x1, #1
	cbnz	x1, 1b
	mov	x0, x4
	ret
END_LEAF checksum_leaf
	.globl	pool_behind_checksum_leaf
	.p2align 3
pool_behind_checksum_leaf:
	.ltorg

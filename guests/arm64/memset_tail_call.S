//@ start none
// A string function that ends in a branch to its generic form, as alternatives patch it on a CPU without the instructions
// of the special form. From the branch on the function is over: only its caller waits, and a trace that does not name the
// function is right.
#include "kernel.S"
#include "annotation.S"

WORD target, 64

FUNC guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	.cfi_def_cfa_offset 16; .cfi_offset x29, -16; .cfi_offset x30, -8
	mov	x29, sp					// CFA=x29+16
	.cfi_def_cfa x29, 16
	adr	x0, target
	mov	w1, #0x5a
	mov	x2, #18
	bl	memset
	adr	x0, target
	mov	w1, #0xa5
	mov	x2, #0
	bl	memset_checked				// returns by itself
	adr	x0, target
	mov	w1, #0xa5
	mov	x2, #3
	bl	memset_checked				// leaves by the branch
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
	ret
END guest_main

// x0: where, w1: which byte, x2: how many. The alternative is patched to the branch; the code after it is for other CPUs,
// up to the instructions that the emulator does not know.
LEAF memset
							// CFA=sp RA=x30
	hint	#34					// bti c
	b	memset_generic
	mov	x3, x0
	ret
END_LEAF memset

// The same with a return of its own.
LEAF memset_checked
							// CFA=sp RA=x30
	hint	#34
	cbnz	x2, memset_generic
	ret
END_LEAF memset_checked

LEAF memset_generic
							// CFA=sp RA=x30
	hint	#34
	mov	x3, x0
	and	w1, w1, #0xff
	orr	w1, w1, w1, lsl #8
	subs	x2, x2, #2
	b.lo	2f
1:	strh	w1, [x3], #2
	subs	x2, x2, #2
	b.hs	1b
2:	tbz	x2, #0, 3f
	strb	w1, [x3]
3:	ret
END_LEAF memset_generic

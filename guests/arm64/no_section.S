// No unwind data at all, as in most programs built with frame pointers: the case in which a walk of user stacks falls back
// to them.
//@ start none
#include "guest.h"

STACK task, 0x4000

CODE _start
	mov	x29, xzr				// no caller: a zero frame pointer ends the chain (AAPCS64 6.4.6)
	mov	x30, xzr
	mov	x0, #3
	bl	guest_main
	b	__sentinel				// the run ends
END_CODE _start

CODE guest_main
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	mov	x29, sp					// CFA=x29+16
	bl	caller
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	ret
END_CODE guest_main

CODE caller
							// CFA=sp RA=x30
	stp	x29, x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-8]
	mov	x29, sp					// CFA=x29+16
	bl	leaf
	mov	x9, x29
	mov	x29, #16				// a plain number
	bl	leaf
	mov	x29, x9
	ldp	x29, x30, [sp], #16			// CFA=sp RA=x30
	ret
END_CODE caller

CODE leaf
							// CFA=sp RA=x30
	add	x0, x0, #7
	ret
END_CODE leaf

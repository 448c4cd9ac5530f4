//@ start none
//@ build fgraph_nested-F0: -DDESIGN=0
//@ build fgraph_nested-F2: -DDESIGN=2
//@ build fgraph_nested-F3: -DDESIGN=3
//@ build fgraph_nested-F4: -DDESIGN=4
//@ build fgraph_nested-F5: -DDESIGN=5
//@ build fgraph_equal_fp-F0: -DDESIGN=0 -DEQUAL_FP
//@ build fgraph_equal_fp-F3: -DDESIGN=3 -DEQUAL_FP
//@ build fgraph_equal_fp-F4: -DDESIGN=4 -DEQUAL_FP
//@ build fgraph_equal_fp-F5: -DDESIGN=5 -DEQUAL_FP
// Several entries on the ret_stack at once: a traced function calls another one and itself; one is left by a tail call to
// another, so that two entries belong to one call, and the younger one's return address is the trampoline. With EQUAL_FP, a
// traced function without a frame record calls itself: entries of different calls have the same frame pointer.
#define PREEMPT_COUNT
#include "kernel.S"
#include "kernel_fgraph.S"

#include "guest_main.S"

FUNC parent
							// CFA=sp RA=x30
	ENTER
#ifdef EQUAL_FP
	mov	x0, #1
	bl	unlinked
#else
	mov	x0, #1
	bl	recursive
	bl	tail_caller
#endif
	LEAVE
END parent

#ifdef EQUAL_FP
// x0: how often it calls itself. Its return address is on the stack, but in no record.
TRACED unlinked
	str	x30, [sp, #-16]!			// CFA=sp+16 RA=[cfa-16], the trampoline's address
	.cfi_def_cfa_offset 16; .cfi_offset x30, -16
	cbz	x0, 1f
	sub	x0, x0, #1
	bl	unlinked
1:	ldr	x30, [sp], #16				// CFA=sp RA=x30
	.cfi_def_cfa_offset 0; .cfi_restore x30
	ret
END unlinked
#else
// x0: how often it calls itself.
TRACED recursive
	ENTER						// RA is the trampoline's address
	cbz	x0, 1f
	sub	x0, x0, #1
	bl	recursive
1:	LEAVE
END recursive

TRACED tail_caller
	ENTER						// RA is the trampoline's address
	bl	leaf
	UNLINK
	b	tail_callee
END tail_caller

TRACED tail_callee
	ENTER						// RA is the trampoline's address
	bl	leaf
	LEAVE
END tail_callee

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	ret
END leaf
#endif

//@ start none
//@ build fgraph_equal_fp-metadata: -DMETADATA
//@ build fgraph_equal_fp-F3: -DMETADATA -DDESIGN=3
//@ build fgraph_equal_fp-F4: -DMETADATA -DDESIGN=4
//@ build fgraph_equal_fp-F5: -DMETADATA -DDESIGN=5
// A traced assembly function without a frame record calls a traced one, and itself once more: entries of the ret_stack with
// the same frame pointer, but different addresses.
#define FGRAPH
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=sp RA=ra
	ENTER	16
	call	parent
	LEAVE	16
END guest_main

FUNC parent
						// CFA=sp RA=ra
	ENTER	16
	li	a0, 1
	call	bare
	LEAVE	16
END parent

// a0: how often it calls itself. Assembly: s0 keeps its caller's value.
TRACED bare
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	addi	a0, a0, -1
	bltz	a0, 1f
	call	bare
1:	call	inner
	ld	ra, 8(sp)			// RA=ra
	.cfi_restore ra
	addi	sp, sp, 16			// CFA=sp
	.cfi_def_cfa_offset 0
	ret
END bare

TRACED inner
						// CFA=sp RA=ra
	ENTER	16
	lla	t3, need_resched
	li	t4, 1
	sd	t4, 0(t3)
	LEAVE	16
END inner

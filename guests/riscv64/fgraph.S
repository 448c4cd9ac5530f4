//@ start none
//@ build fgraph:
//@ build fgraph-metadata: -DMETADATA
//@ build fgraph-records: -DMETADATA -DRECORDS
//@ build fgraph-F3: -DMETADATA -DDESIGN=3
//@ build fgraph-F4: -DMETADATA -DDESIGN=4
//@ build fgraph-F5: -DMETADATA -DDESIGN=5
// Functions traced by the function graph tracer: one with a frame record, and a leaf without. Interrupted from their first
// instruction until their caller resumes.
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
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	li	a0, 5
	li	a6, 6				// the seventh and eighth arguments, which are not used
	li	a7, 7
	call	traced
	mv	s1, a0
	call	traced_leaf
	add	a0, a0, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END parent

TRACED traced
						// CFA=sp RA=ra
	ENTER	32
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	mv	s1, a0
	call	leaf
	add	a0, a0, s1
	ld	s1, 8(sp)
	.cfi_restore s1
	LEAVE	32
END traced

TRACED traced_leaf
						// CFA=sp RA=ra
	slli	a0, a0, 1
	ret
END traced_leaf

FUNC leaf
						// CFA=sp RA=ra
	xori	a0, a0, 2
	ret
END leaf

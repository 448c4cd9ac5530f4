// LEAF name ... END_LEAF name: hand-written code that an annotation declares to be a leaf, as in a kernel whose assembly
// gets its unwind data that way: one row for the whole function, CFA=sp, RA=x30, x29 retained. Nothing checks it. With
// UNANNOTATED, the same code without unwind data.
#ifdef UNANNOTATED
.macro LEAF name
	CODE \name
.endm

.macro END_LEAF name
	END_CODE \name
.endm
#else
.macro LEAF name
	CODE \name
	.cfi_startproc
.endm

.macro END_LEAF name
	.cfi_endproc
	END_CODE \name
.endm
#endif

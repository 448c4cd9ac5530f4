// Prologues and epilogues with a frame record at SP, and their unwind data. At the entry CFA=sp RA=x30.
.macro ENTER size=16
	stp	x29, x30, [sp, #-\size]!		// CFA=sp+size RA=[cfa-size+8]
	.cfi_def_cfa_offset \size; .cfi_offset x29, -\size; .cfi_offset x30, 8-\size
	mov	x29, sp					// CFA=x29+size
	.cfi_def_cfa x29, \size
.endm

.macro UNLINK size=16
	ldp	x29, x30, [sp], #\size			// CFA=sp RA=x30
	.cfi_def_cfa sp, 0; .cfi_restore x29; .cfi_restore x30
.endm

.macro LEAVE size=16
	UNLINK	\size
	ret
.endm

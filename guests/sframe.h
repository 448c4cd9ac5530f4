// A hand-written `.sframe` section (V3), for rows that no CFI can give. The harness uses it instead of one made from the CFI.
// The layout is that of the SFrame specification, version 3. Functions are listed in the order of their addresses; after a
// change, `unwind-harness sframe validate` says whether the counts are right.

// SFRAME rows ... SFRAME_FUNCTION ... SFRAME_ROWS ... SFRAME_ROWS_OF, SFRAME_ROW ... SFRAME_END. `rows`: their total number.
.macro SFRAME rows
	.pushsection .sframe, "a"
	.p2align 3
	.2byte 0xdee2				// magic
	.byte 3, 0x5				// version; sorted, starts from their own field
	.byte 3, 0, -8, 0			// AMD64, no fixed FP, RA at CFA-8, no auxiliary header
	.4byte (.Lsframe_rows - .Lsframe_functions) / 16
	.4byte \rows
	.4byte .Lsframe_end - .Lsframe_rows
	.4byte 0, .Lsframe_rows - .Lsframe_functions
.Lsframe_functions:
.endm

// `of`: the label at SFRAME_ROWS_OF, `.Lrows_<of>`.
.macro SFRAME_FUNCTION name, of
	.quad \name - .
	.4byte \name@SIZE, .Lrows_\of - .Lsframe_rows
.endm

.macro SFRAME_ROWS
.Lsframe_rows:
.endm

// `info`: bits 0 to 3: the size of starts (0: a byte); bit 4: the rows repeat every `block` bytes.
.macro SFRAME_ROWS_OF of, count, info=0, block=0
.Lrows_\of:
	.2byte \count
	.byte \info, 0, \block
.endm

// CFA=rsp+cfa from `start` on; `fp`: where the caller's rbp is, from the CFA.
.macro SFRAME_ROW start, cfa, fp
	.ifb \fp
	.byte \start, 0x03, \cfa
	.else
	.byte \start, 0x05, \cfa, \fp
	.endif
.endm

// The same with CFA=rbp+cfa.
.macro SFRAME_ROW_RBP start, cfa, fp
	.byte \start, 0x04, \cfa, \fp
.endm

.macro SFRAME_ROW_OUTERMOST start
	.byte \start, 0
.endm

.macro SFRAME_END
.Lsframe_end:
	.popsection
.endm

// Hints for the ORC table, where CFI says nothing, or nothing that ORC can express: what a kernel's annotations of assembly
// say. Not loaded: the harness makes the table from the CFI and these hints (README.md, "ORC hints").
//
// A hint holds from its place to the next one or to the end of the function. ORC_ADJUST repeats the last one for an rsp
// that has moved: unlike objtool, nothing here reads the instructions to do that.

// Types and registers as in an ORC entry; ORC_TYPE_CFI is not one of them: from there on the CFI holds again.
#define ORC_TYPE_UNDEFINED	0
#define ORC_TYPE_END_OF_STACK	1
#define ORC_TYPE_CALL		2
#define ORC_TYPE_REGS		3
#define ORC_TYPE_REGS_PARTIAL	4
#define ORC_TYPE_CFI		7
#define ORC_REG_UNDEFINED	0
#define ORC_REG_PREV_SP		1
#define ORC_REG_DX		2
#define ORC_REG_DI		3
#define ORC_REG_BP		4
#define ORC_REG_SP		5
#define ORC_REG_SP_INDIRECT	9

// Writes the hint in the symbols orc_*: 16 bytes.
.macro ORC_WRITE
.Lorc_hint\@:
	.pushsection .orc_hints, "", @progbits
	.quad	.Lorc_hint\@
	.short	.Lorc_sp_offset, .Lorc_bp_offset
	.byte	.Lorc_sp_reg, .Lorc_bp_reg, .Lorc_type, .Lorc_signal
	.popsection
.endm

.macro ORC_HINT type, sp_reg=ORC_REG_UNDEFINED, sp_offset=0, bp_offset=0, signal=0
	.set	.Lorc_type, \type
	.set	.Lorc_sp_reg, \sp_reg
	.set	.Lorc_sp_offset, \sp_offset
	.set	.Lorc_bp_offset, \bp_offset
	.set	.Lorc_signal, \signal
	.if	\bp_offset
	.set	.Lorc_bp_reg, ORC_REG_PREV_SP
	.else
	.set	.Lorc_bp_reg, ORC_REG_UNDEFINED
	.endif
	ORC_WRITE
.endm

// No way from here to a caller.
.macro ORC_UNDEFINED
	ORC_HINT ORC_TYPE_UNDEFINED
.endm

// There is no caller: boot code, the first instructions of a task, an entry from user mode before it has pt_regs.
.macro ORC_END_OF_STACK
	ORC_HINT ORC_TYPE_END_OF_STACK
.endm

// Called with the return address at rsp + offset - 8; the caller's rbp, if it was pushed, at the CFA + bp.
.macro ORC_CALL offset, bp=0
	ORC_HINT ORC_TYPE_CALL, ORC_REG_SP, \offset, \bp
.endm

// The first instruction of what was called.
.macro ORC_FUNC
	ORC_CALL 8
.endm

// Called, with a frame record that rbp points at.
.macro ORC_RECORD
	ORC_HINT ORC_TYPE_CALL, ORC_REG_BP, 16, -16
.endm

#ifdef BUG_NO_SIGNAL				// the museum: the hint's bit did not reach the entry
#define ORC_SIGNAL	0
#else
#define ORC_SIGNAL	1
#endif

// A whole pt_regs at base + offset.
.macro ORC_REGS offset=0, base=ORC_REG_SP
	ORC_HINT ORC_TYPE_REGS, \base, \offset, 0, ORC_SIGNAL
.endm

// The five words for iretq at base + offset, and no other registers.
.macro ORC_IRET offset=0, base=ORC_REG_SP
	ORC_HINT ORC_TYPE_REGS_PARTIAL, \base, \offset, 0, ORC_SIGNAL
.endm

// rsp is on the IRQ stack and points at a saved rsp; what was called has its return address at that + offset - 8.
.macro ORC_SP_INDIRECT offset, bp=0
	ORC_HINT ORC_TYPE_CALL, ORC_REG_SP_INDIRECT, \offset, \bp
.endm

// From here on what the CFI says.
.macro ORC_CFI
	ORC_HINT ORC_TYPE_CFI
.endm

// As before, but rsp is lower by that many bytes.
.macro ORC_ADJUST bytes
	.set	.Lorc_sp_offset, .Lorc_sp_offset + \bytes
	ORC_WRITE
.endm

// Prologues and epilogues, as a compiler makes them: with a frame record, or with -DUNWINDER_ORC without one, because a kernel
// that is unwound by ORC is compiled without frame pointers (UNWINDER_ORC and FRAME_POINTER exclude each other).
//
// At the entry CFA=rsp+8 RA=[cfa-8]. After ENTER: CFA=rbp+16 with a record, still CFA=rsp+8 without. SAVE and RESTORE keep a
// callee-saved register on the stack, ALLOC and FREE move rsp; only without a record do they move the CFA's offset.

.macro ENTER
	.set	.Lsaved, 0
#ifndef UNWINDER_ORC
	pushq	%rbp				// CFA=rsp+16
	.cfi_def_cfa_offset 16; .cfi_offset %rbp, -16
	movq	%rsp, %rbp			// CFA=rbp+16
	.cfi_def_cfa %rbp, 16
#endif
.endm

// The end of a frame, and the return. RECORD_SIZE is what the record takes.
.macro LEAVE
	UNLINK
	ret
.endm

.macro UNLINK
#ifndef UNWINDER_ORC
	popq	%rbp				// CFA=rsp+8
	.cfi_def_cfa %rsp, 8; .cfi_restore %rbp
#endif
.endm

#ifdef UNWINDER_ORC
#define RECORD_SIZE	0
#else
#define RECORD_SIZE	16
#endif

.macro SAVE register
	.set	.Lsaved, .Lsaved + 8
	pushq	\register
#ifdef UNWINDER_ORC
	.cfi_adjust_cfa_offset 8; .cfi_offset \register, -8 - .Lsaved
#else
	.cfi_offset \register, -16 - .Lsaved
#endif
.endm

.macro RESTORE register
	popq	\register
#ifdef UNWINDER_ORC
	.cfi_adjust_cfa_offset -8
#endif
	.cfi_restore \register
.endm

.macro ALLOC bytes
	.set	.Lsaved, .Lsaved + \bytes
	subq	$\bytes, %rsp
#ifdef UNWINDER_ORC
	.cfi_adjust_cfa_offset \bytes
#endif
.endm

.macro FREE bytes
	addq	$\bytes, %rsp
#ifdef UNWINDER_ORC
	.cfi_adjust_cfa_offset -\bytes
#endif
.endm

// A pt_regs's address as a frame pointer, where there are frame pointers: a walk along rbp finds pt_regs by the lowest bit.
.macro ENCODE_FRAME_POINTER offset=0
#ifndef UNWINDER_ORC
	leaq	\offset+1(%rsp), %rbp
#endif
.endm

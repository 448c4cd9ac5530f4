//@ start none
//@ build fgraph_voluntary-F0: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph_voluntary-fp-F0: -DUNWINDER_FRAME_POINTER -DDESIGN=0
//@ build fgraph_voluntary-undefined: -DUNWINDER_ORC -DDESIGN=0 -DNO_HINTS
//@ build fgraph_voluntary-F3: -DUNWINDER_ORC -DDESIGN=3
//@ build fgraph_voluntary-fp-F3: -DUNWINDER_FRAME_POINTER -DDESIGN=3
//@ build fgraph_voluntary-F4: -DUNWINDER_FRAME_POINTER -DDESIGN=4
//@ build fgraph_voluntary-entry: -DUNWINDER_ORC -DDESIGN=0 -DENTRY
//@ build fgraph_voluntary-fp-entry: -DUNWINDER_FRAME_POINTER -DDESIGN=0 -DENTRY
// The task is switched out where the tracer releases its recursion lock, with no pt_regs on its stack: at the returns of a
// function with a frame record and of a leaf without; with ENTRY, at their entries.
#include "kernel.S"
#include "kernel_fgraph.S"

// The next unlock of the tracer lets the checker run.
.macro RESCHED_AT_ENTRY
#ifdef ENTRY
	movq	$1, need_resched(%rip)
#endif
.endm

.macro RESCHED_AT_RETURN
#ifndef ENTRY
	movq	$1, need_resched(%rip)
#endif
.endm

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movl	$5, %edi
	RESCHED_AT_ENTRY
	call	traced
	movq	%rax, %rbx
	movl	$6, %edi
	RESCHED_AT_ENTRY
	call	traced_leaf
	addq	%rbx, %rax
	RESTORE	%rbx
	LEAVE
END parent

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	leaq	(%rdi,%rdi), %rax
	RESCHED_AT_RETURN
	LEAVE
END traced

TRACED traced_leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	RESCHED_AT_RETURN
	ret
END traced_leaf

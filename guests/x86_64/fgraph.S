//@ start none
//@ build fgraph-F0: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph-fp-F0: -DUNWINDER_FRAME_POINTER -DDESIGN=0
//@ build fgraph_by8-F0: -DUNWINDER_ORC -DDESIGN=0 -DBY8
//@ build fgraph_no_padding-F0: -DUNWINDER_ORC -DDESIGN=0 -DBY8 -DNO_PADDING
//@ build fgraph_no_padding-F2: -DUNWINDER_ORC -DDESIGN=2 -DBY8 -DNO_PADDING
//@ build fgraph_no_padding-undefined: -DUNWINDER_ORC -DDESIGN=0 -DNO_HINTS -DBY8 -DNO_PADDING
//@ build fgraph-F3: -DUNWINDER_ORC -DDESIGN=3
//@ build fgraph_no_padding-F3: -DUNWINDER_ORC -DDESIGN=3 -DBY8 -DNO_PADDING
//@ build fgraph-F4: -DUNWINDER_FRAME_POINTER -DDESIGN=4
// Functions traced by the function graph tracer: one with a frame record, and a leaf without. Interrupted from their first
// instruction until their caller resumes. The caller's rsp is a multiple of 16 at its calls, and 8 more with BY8. Where it
// points, in a local variable that has not been written yet, lies a return address of an earlier call.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx				// rsp is a multiple of 16, with and without a record
#ifdef BY8
	ALLOC	8
#endif
	call	earlier
	ALLOC	16				// the lowest word: where leaf's return address was, or with a record rbp
	movl	$5, %edi
	call	traced
	movq	%rax, %rbx
	movl	$6, %edi
	call	traced_leaf
	addq	%rbx, %rax
	FREE	16
#ifdef BY8
	FREE	8
#endif
	RESTORE	%rbx
	LEAVE
END parent

FUNC earlier
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$1, %edi
	call	leaf
	LEAVE
END earlier

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	movq	%rdi, %rbx
	call	leaf
	addq	%rbx, %rax
	RESTORE	%rbx
	LEAVE
END traced

TRACED traced_leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	(%rdi,%rdi), %rax
	ret
END traced_leaf

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	movq	%rdi, %rax
	xorq	$2, %rax
	ret
END leaf

//@ start none
//@ build fgraph-F0: -DDESIGN=0
//@ build fgraph_by8-F0: -DDESIGN=0 -DBY8
//@ build fgraph_no_padding-F0: -DDESIGN=0 -DBY8 -DNO_PADDING
//@ build fgraph_no_padding-F2: -DDESIGN=2 -DBY8 -DNO_PADDING
//@ build fgraph_no_padding-undefined: -DDESIGN=0 -DNO_HINTS -DBY8 -DNO_PADDING
//@ build fgraph-F3: -DDESIGN=3
//@ build fgraph_no_padding-F3: -DDESIGN=3 -DBY8 -DNO_PADDING
//@ build fgraph-F4: -DDESIGN=4
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
	ENTER					// rsp is 8 mod 16
	call	earlier
#ifdef BY8
	subq	$32, %rsp			// the lowest word: where leaf's return address was
#else
	subq	$24, %rsp
#endif
	movq	%rbx, -8(%rbp)
	.cfi_offset %rbx, -24
	movl	$5, %edi
	call	traced
	movq	%rax, %rbx
	movl	$6, %edi
	call	traced_leaf
	addq	%rbx, %rax
	movq	-8(%rbp), %rbx
	.cfi_restore %rbx
	movq	%rbp, %rsp
	LEAVE
END parent

FUNC earlier
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
#ifdef BY8
	SAVE	%rbx
#endif
	movl	$1, %edi
	call	leaf
#ifdef BY8
	RESTORE	%rbx
#endif
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

//@ start none
//@ build fgraph_stale_bp-F0: -DDESIGN=0
//@ build fgraph_stale_bp_by8-F0: -DDESIGN=0 -DBY8
//@ build fgraph_stale_bp-F2: -DDESIGN=2
//@ build fgraph_stale_bp-undefined: -DDESIGN=0 -DNO_HINTS
//@ build fgraph_stale_bp-F3: -DDESIGN=3
// The last instruction of return_to_handler: its unwind data say that rbp was saved in a word that lies below rsp by then,
// and into which an interrupt pushes rbx. `parent` computes its CFA from rbp, and has the address of its caller's frame
// record in rbx, as it could have the address of any structure there.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	grandparent
	LEAVE
END guest_main

FUNC grandparent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movq	%rbp, %rdi
	call	parent
	LEAVE
END grandparent

// rdi: an address on the stack.
FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
#ifdef BY8
	pushq	%rbx
#endif
	movq	%rdi, %rbx
	call	traced
	movq	%rbx, %rax
#ifdef BY8
	popq	%rbx
#endif
	RESTORE	%rbx
	LEAVE
END parent

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	leaq	(%rdi,%rdi), %rax
	ret
END traced

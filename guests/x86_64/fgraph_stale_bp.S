//@ start none
//@ build fgraph_stale_bp-F0: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph_stale_bp_by8-F0: -DUNWINDER_ORC -DDESIGN=0 -DBY8
//@ build fgraph_stale_bp-F2: -DUNWINDER_ORC -DDESIGN=2
//@ build fgraph_stale_bp-undefined: -DUNWINDER_ORC -DDESIGN=0 -DNO_HINTS
//@ build fgraph_stale_bp-F3: -DUNWINDER_ORC -DDESIGN=3
// The last instruction of return_to_handler: its unwind data say that rbp was saved in a word that lies below rsp by then,
// and into which an interrupt pushes rbx. `parent` computes its CFA from rbp, and has the address of its caller's frame
// record in rbx, as it could have the address of any structure there.
#include "kernel.S"
#include "kernel_fgraph.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
#ifdef UNWINDER_ORC
	ALLOC	8				// as much as a record, for the same alignment
#endif
	call	grandparent
#ifdef UNWINDER_ORC
	FREE	8
#endif
	LEAVE
END guest_main

FUNC grandparent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	movq	%rbp, %rdi
	call	parent
	LEAVE_RECORD
END grandparent

// rdi: an address on the stack.
FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
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
	LEAVE_RECORD
END parent

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	leaq	(%rdi,%rdi), %rax
	ret
END traced

//@ start none
//@ build fgraph_frameless-padding: -DUNWINDER_ORC -DDESIGN=0
//@ build fgraph_frameless-F0: -DUNWINDER_ORC -DDESIGN=0 -DNO_PADDING
//@ build fgraph_frameless-F3: -DUNWINDER_ORC -DDESIGN=3 -DNO_PADDING
// A traced function below a caller that keeps nothing on the stack, as compilers make it that omit frame pointers and align
// the stack to 8: above the traced function's return address lies the caller's own. At the call rsp is not a multiple of
// 16, so an interrupt does not push over the slot of the return address.
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
	SAVE	%rbx
	movl	$5, %edi
	call	wrapper
	RESTORE	%rbx
	LEAVE
END parent

FUNC wrapper
						// CFA=rsp+8 RA=[cfa-8]
	call	traced
	incq	%rax
	ret
END wrapper

TRACED traced
						// CFA=rsp+8 RA=[cfa-8]
	leaq	(%rdi,%rdi), %rax
	ret
END traced

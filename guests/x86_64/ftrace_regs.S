//@ start none
//@ build ftrace_regs-fp: -DUNWINDER_FRAME_POINTER -DFTRACE_CALLBACK=ftrace_ops_func
//@ build ftrace_regs-orc: -DUNWINDER_ORC -DFTRACE_CALLBACK=ftrace_ops_func
//@ build ftrace_regs-no_padding: -DUNWINDER_ORC -DFTRACE_CALLBACK=ftrace_ops_func -DTARGET_NO_PADDING
// Every instruction of ftrace_caller and ftrace_regs_caller, in a kernel with frame pointers and in one without. Four
// functions are traced: the outermost of the task, one whose callback wants all registers, one whose callback requests a
// direct call, and one whose callback requests a direct jump. Each callback sleeps where it releases its lock.
#include "kernel.S"
#include "kernel_fgraph.S"

TRACED guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	parent
	LEAVE
END guest_main

FUNC parent
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$5, %edi
	call	traced_regs
	movl	$6, %edi
	call	traced_direct
	movl	$7, %edi
	call	traced_jump
	LEAVE
END parent

TRACED traced_regs, ftrace_regs_caller
						// CFA=rsp+8 RA=[cfa-8]
	leaq	1(%rdi), %rax
	ret
END traced_regs

TRACED traced_direct, ftrace_regs_caller
						// CFA=rsp+8 RA=[cfa-8]
	leaq	2(%rdi), %rax
	ret
END traced_direct

TRACED traced_jump, ftrace_regs_caller
						// CFA=rsp+8 RA=[cfa-8]
	leaq	3(%rdi), %rax			// never runs
	ret
END traced_jump

// rdi: the traced function, rcx: struct ftrace_regs.
FUNC ftrace_ops_func
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	SAVE	%rbx
	RECURSION_TRYLOCK %rbx, .Lops_busy
	leaq	traced_direct(%rip), %rax
	cmpq	%rax, %rdi
	jne	.Lops_not_direct
	leaq	direct_target(%rip), %rax
	movq	%rax, FREGS_DIRECT(%rcx)
.Lops_not_direct:
	leaq	traced_jump(%rip), %rax
	cmpq	%rax, %rdi
	jne	.Lops_not_jump
	leaq	jump_target+1(%rip), %rax
	movq	%rax, FREGS_DIRECT(%rcx)
.Lops_not_jump:
	movq	$1, need_resched(%rip)
	RECURSION_UNLOCK %rbx
.Lops_busy:
	RESTORE	%rbx
	LEAVE
END ftrace_ops_func

// Never runs. Its last byte, or padding, is what a walk finds when it looks up direct_target's address.
FUNC neighbour_of_target
						// CFA=rsp+8 RA=[cfa-8]
#ifdef TARGET_NO_PADDING
	.skip	15, 0x90
#endif
	ret
END neighbour_of_target

// The target of the direct call: as if traced_direct had called it.
FUNC direct_target
						// CFA=rsp+8 RA=[cfa-8]
	pushq	%rdi				// CFA=rsp+16
	.cfi_def_cfa_offset 16
	popq	%rdi				// CFA=rsp+8
	.cfi_def_cfa_offset 8
	ret
END direct_target

// The target of the direct jump: runs in traced_jump's place.
FUNC jump_target
						// CFA=rsp+8 RA=[cfa-8]
	leaq	4(%rdi), %rax
	ret
END jump_target

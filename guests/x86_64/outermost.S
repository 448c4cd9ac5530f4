// Where the unwind data say that a function has no caller, the stack ends, whatever rbp holds: here a plain number, so the
// frame pointer does not show the end. `_start` makes calls from there; `thread`, which was not called, runs the rest.
// Between them `liar` **says that it has no caller, but has one**: a walk that believes it loses everything older.
//@ start none
#include "guest.h"

STACK task, 0x4000

FUNC _start
	.cfi_undefined %rip			// the outermost function
	movl	$5, %ebp
	movl	$3, %edi
	call	guest_main
	movq	%rax, %rdi
	call	liar
	jmp	thread
END _start

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	call	leaf
	leaq	1(%rax), %rdi
	call	leaf
	ret
END guest_main

FUNC liar
						// CFA=rsp+8 RA=[cfa-8]
	.cfi_undefined %rip			// not true
	addq	$2, %rdi
	call	leaf
	ret
END liar

// Begins a stack, with an alignment of its own.
FUNC thread
	.cfi_undefined %rip			// the outermost function
	pushq	$0
	movq	%rax, %rdi
	call	leaf
	jmp	__sentinel			// the run ends
END thread

FUNC leaf
						// CFA=rsp+8 RA=[cfa-8]
	leaq	7(%rdi), %rax
	ret
END leaf

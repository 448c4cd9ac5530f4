// Where the unwind data say that a function has no caller, the stack ends, whatever rbp holds: here a plain number, so that
// no frame pointer tells. `_start` calls on from there; `thread`, which nobody called, takes the rest of the run. Between
// them `liar` **says so and has a caller**: who believes it loses all that is older.
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

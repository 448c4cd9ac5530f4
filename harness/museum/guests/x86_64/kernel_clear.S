//@ start none
//@ build kernel_clear-defective: -DUNWINDER_ORC -DBUG_CLEAR_EARLY
//@ build kernel_clear-fixed: -DUNWINDER_ORC
// Interrupts in a function whose CFA is counted from rbp. The defective entry code clears each register directly after its push, before
// the hint says that it is in pt_regs.
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	by_rbp
	LEAVE
END guest_main

FUNC by_rbp
						// CFA=rsp+8 RA=[cfa-8]
	ENTER_RECORD
	movl	$1, %eax
	addl	$1, %eax
	LEAVE_RECORD
END by_rbp

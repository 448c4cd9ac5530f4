// Every x86-64 guest starts and ends here. The harness sets rsp to the high end of the task stack (16-aligned) and plants
// values in all other registers; the end of the frame record chain is made here, as a kernel's head_64.S makes it.
#include "guest.h"

STACK task, 0x4000

FUNC _start
	.cfi_undefined %rip			// the outermost function
	xorl	%ebp, %ebp			// no caller: a zero frame pointer ends the chain (psABI 3.4.1)
	call	guest_main
	jmp	__sentinel			// the run ends
END _start

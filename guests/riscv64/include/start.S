// Every riscv64 guest starts and ends here. The harness sets sp to the high end of the task stack and plants values in
// all other registers; the end of the frame record chain is made here, as a kernel's head.S makes it.
#include "guest.h"

STACK task, 0x4000

FUNC _start
	.cfi_undefined ra			// the outermost function
	li	s0, 0				// no caller: a zero frame pointer ends the chain
	li	ra, 0
	call	guest_main
	tail	__sentinel			// the run ends
END _start

// Every arm64 guest starts and ends here. The harness sets SP to the high end of the task stack and plants values in all
// other registers; the end of the frame record chain is made here, as a kernel's head.S makes it.
#include "guest.h"

STACK task, 0x4000

FUNC _start
	.cfi_undefined x30			// the outermost function
	mov	x29, xzr			// no caller: a zero frame pointer ends the chain (AAPCS64 6.4.6)
	mov	x30, xzr
	bl	guest_main
	b	__sentinel			// the run ends
END _start

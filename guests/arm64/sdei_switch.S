//@ start none
// Firmware events (SDEI) in a switch of tasks, to the other task and back.
#include "kernel.S"
#include "kernel_sdei.S"

FUNC guest_main
							// CFA=sp RA=x30
	ENTER
	bl	schedule
	bl	schedule
	LEAVE
END guest_main

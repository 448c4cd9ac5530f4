// The idle task of the boot CPU: its stack ends in boot code, and its last record is that of the first function called
// there. (A kernel idles for ever; this one twice.)
//@ start none
//@ build idle_primary: -DUNWINDER_FRAME_POINTER
//@ build idle_primary-orc: -DUNWINDER_ORC
#include "kernel.S"

FUNC guest_main
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	call	start_kernel
	LEAVE
END guest_main

FUNC start_kernel
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	ALLOC	32
	movq	$0, 24(%rsp)
	movq	$1, 16(%rsp)
	call	rest_init
	FREE	32
	LEAVE
END start_kernel

FUNC rest_init
						// CFA=rsp+8 RA=[cfa-8]
	ENTER
	movl	$2, %edi			// how often
	call	cpu_startup_entry
	LEAVE
END rest_init

#include "kernel_idle.S"

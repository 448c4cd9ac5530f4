// The idle task of the boot CPU: its stack ends in boot code, and its last record is that of the first function called
// there. (A kernel idles for ever; this one twice.)
//@ start none
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
	subq	$32, %rsp
	movq	$0, -8(%rbp)
	movq	$1, -16(%rbp)
	call	rest_init
	addq	$32, %rsp
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

//@ start none
//@ build idle_primary:
//@ build idle_primary-metadata: -DMETADATA
// The idle task of the boot CPU, with the whole boot chain above it. `guest_main` (start_kernel) was reached by a jump; the
// return address in its frame is left over from an earlier call, and nothing returns there.
#define BOOT_PRIMARY
#include "kernel.S"

FUNC guest_main
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	rest_init
1:	j	1b				// not reached
END guest_main

FUNC rest_init
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	.cfi_def_cfa_offset 16
	sd	ra, 8(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 0(sp)
	.cfi_offset s0, -16
	addi	s0, sp, 16			// CFA=s0
	.cfi_def_cfa s0, 0
	call	schedule
	call	cpu_startup_entry
1:	j	1b				// not reached
END rest_init

#include "kernel_idle.S"

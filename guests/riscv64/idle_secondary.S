//@ start none
//@ build idle_secondary:
//@ build idle_secondary-metadata: -DMETADATA
// The idle task of a secondary CPU: `guest_main` (smp_callin) is called with s0 as the CPU came up, unless the metadata
// form points it at the FINAL record that fork built.
#define BOOT_SECONDARY
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
	call	cpu_startup_entry
1:	j	1b				// not reached
END guest_main

#include "kernel_idle.S"

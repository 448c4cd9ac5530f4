//@ start none
//@ build user_entry:
//@ build user_entry-metadata: -DMETADATA
// Interrupted in user mode: pt_regs lies at the high end of the task stack, and the handlers' chain ends there.
// `guest_main` sends the task to user mode as a fork sends a new process; a system call ends the run.
#include "kernel.S"
#include "kernel_user.S"

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
	lla	a0, user_main
	call	start_user
1:	j	1b				// not reached
END guest_main

FUNC user_main
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	.cfi_def_cfa_offset 32
	sd	ra, 24(sp)			// RA=[cfa-8]
	.cfi_offset ra, -8
	sd	s0, 16(sp)
	.cfi_offset s0, -16
	sd	s1, 8(sp)
	.cfi_offset s1, -24
	addi	s0, sp, 32			// CFA=s0
	.cfi_def_cfa s0, 0
	li	a0, 4
	call	user_work
	mv	s1, a0
	call	user_work
	add	a0, a0, s1
	li	a7, SYSCALL_END
	ecall					// the run ends
1:	j	1b				// not reached
END user_main

FUNC user_work
						// CFA=sp RA=ra
	addi	t0, a0, 3
	slli	t1, t0, 2
	xor	a0, t0, t1
	ret
END user_work

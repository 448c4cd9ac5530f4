// What every CPU's idle task does, for the guests of idle tasks.
FUNC cpu_startup_entry
						// CFA=sp RA=ra
	addi	sp, sp, -32			// CFA=sp+32
	sd	ra, 24(sp)			// RA=[cfa-8]
	sd	s0, 16(sp)
	sd	s1, 8(sp)
	addi	s0, sp, 32			// CFA=s0
	li	s1, 3
1:
	call	do_idle
	addi	s1, s1, -1
	bnez	s1, 1b
	tail	__sentinel			// a kernel would idle for ever; the run ends
END cpu_startup_entry

FUNC do_idle
						// CFA=sp RA=ra
	addi	sp, sp, -16			// CFA=sp+16
	sd	ra, 8(sp)			// RA=[cfa-8]
	sd	s0, 0(sp)
	addi	s0, sp, 16			// CFA=s0
	call	cpu_idle
	ld	ra, 8(sp)			// RA=ra
	ld	s0, 0(sp)			// CFA=sp+16
	addi	sp, sp, 16			// CFA=sp
	ret
END do_idle

FUNC cpu_idle
						// CFA=sp RA=ra
	nop					// wfi would end the run
	ret
END cpu_idle

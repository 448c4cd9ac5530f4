// What every CPU's idle task runs, for the guests with idle tasks.
FUNC do_idle
							// CFA=sp RA=x30
	ENTER
	msr	daifset, #3
	bl	leaf
	msr	daifclr, #3
	LEAVE
END do_idle

FUNC leaf
							// CFA=sp RA=x30
	add	x0, x0, #1
	eor	x0, x0, #2
	ret
END leaf

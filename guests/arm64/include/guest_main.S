// How most guests of the small kernel begin; they define `parent`.
FUNC guest_main
							// CFA=sp RA=x30
	ENTER
	bl	parent
	LEAVE
END guest_main

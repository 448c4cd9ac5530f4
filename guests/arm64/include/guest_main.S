// What most guests of the small kernel begin with: `parent` is theirs.
FUNC guest_main
							// CFA=sp RA=x30
	ENTER
	bl	parent
	LEAVE
END guest_main

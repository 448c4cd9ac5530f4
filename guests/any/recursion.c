//@ build recursion: -O2
// One function 150 frames deep: the same return address again and again, with another frame each time. A walk that
// removes repetitions, or that has a limit on its depth, shows it here.

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

#define DEPTH 150

long guest_main(void);
long descend(long depth);

// The work after the call keeps the compiler from making a loop of it.
noinline long descend(long depth)
{
	if (depth <= 1)
		return 1;
	long below = descend(depth - 1);
	OPAQUE(below);
	return below + depth;
}

long guest_main(void)
{
	long total = descend(DEPTH);
	OPAQUE(total);
	return total;
}

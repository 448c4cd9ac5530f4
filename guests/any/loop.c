//@ build loop: -O2
// The same instructions on different stacks: `helper` runs 48 times, from two callers and with four different chains above
// it (two, three, three and four functions). An answer cached by address alone is wrong here.

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

#define TURNS 16

long guest_main(void);
long helper(long x);
long shallow(long turns);
long middle(long turns);
long deep(long turns);
long inner(long x);

noinline long helper(long x)
{
	OPAQUE(x);
	return x ^ 5;
}

noinline long shallow(long turns)
{
	long total = 0;
	for (long i = 0; i < turns; i++) {
		total += helper(i);
		OPAQUE(total);
	}
	return total;
}

// One level more between the loop and `helper`.
noinline long inner(long x)
{
	long y = helper(x);
	OPAQUE(y);
	return y + x;
}

noinline long middle(long turns)
{
	long total = 1;
	for (long i = 0; i < turns; i++) {
		volatile long spill = i;
		total += inner(spill);
		OPAQUE(total);
	}
	return total;
}

noinline long deep(long turns)
{
	long y = shallow(turns / 2);
	OPAQUE(y);
	long z = middle(turns / 2);
	OPAQUE(z);
	return y + z;
}

long guest_main(void)
{
	long total = shallow(TURNS);
	OPAQUE(total);
	total += middle(TURNS);
	OPAQUE(total);
	total += deep(TURNS);
	OPAQUE(total);
	return total;
}

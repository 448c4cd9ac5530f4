//@ build alloca: -O2
// SP moves inside the body by amounts known only at run time, and the function makes calls meanwhile: no rule relative to
// SP can give the CFA there, only one relative to the frame pointer.

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

long guest_main(void);
long grow_once(long words);
long grow_in_a_loop(long turns);
void fill(volatile long *words, long n);
long sum(const volatile long *words, long n);

noinline void fill(volatile long *words, long n)
{
	for (long i = 0; i < n; i++)
		words[i] = i;
}

noinline long sum(const volatile long *words, long n)
{
	long total = 0;
	for (long i = 0; i < n; i++)
		total += words[i];
	return total;
}

noinline long grow_once(long words)
{
	OPAQUE(words);
	volatile long *p = __builtin_alloca(words * sizeof(long));
	fill(p, words);
	long total = sum(p, words);
	OPAQUE(total);
	return total;
}

// Each iteration moves SP further; nothing is released before the return.
noinline long grow_in_a_loop(long turns)
{
	long total = 0;
	for (long i = 1; i <= turns; i++) {
		long words = i * 2;
		OPAQUE(words);
		volatile long *p = __builtin_alloca(words * sizeof(long));
		fill(p, words);
		total += grow_once(words) + sum(p, words);
		OPAQUE(total);
	}
	return total;
}

long guest_main(void)
{
	long total = grow_once(3) + grow_once(9) + grow_in_a_loop(3);
	OPAQUE(total);
	return total;
}

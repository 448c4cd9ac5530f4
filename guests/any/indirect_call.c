//@ build indirect_call: -O2
// Calls whose target does not appear in the disassembly: through a constant table of function pointers, and through a
// callback argument.

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

typedef long operation(long x);

long guest_main(void);
operation add_one, twice, nested;
long through_table(unsigned long index, long x);
long through_argument(operation *callback, long x);

noinline long add_one(long x)
{
	OPAQUE(x);
	return x + 1;
}

noinline long twice(long x)
{
	OPAQUE(x);
	return x * 2;
}

// A target that makes an indirect call itself.
noinline long nested(long x)
{
	long y = through_argument(twice, x);
	OPAQUE(y);
	return y - 1;
}

static operation *const table[] = { add_one, twice, nested };

noinline long through_table(unsigned long index, long x)
{
	OPAQUE(index);
	long y = table[index](x);
	OPAQUE(y);
	return y + 1;
}

// The callback is called from two places.
noinline long through_argument(operation *callback, long x)
{
	OPAQUE(callback);
	long y = callback(x);
	OPAQUE(y);
	long z = callback(y + 1);
	OPAQUE(z);
	return y + z;
}

long guest_main(void)
{
	long x = 1;
	for (unsigned long i = 0; i < 3; i++) {
		x += through_table(i, x);
		OPAQUE(x);
	}
	x += through_argument(add_one, x);
	OPAQUE(x);
	return x;
}

//@ build call_chain-O0: -O0
//@ build call_chain-O2: -O2
// Eight functions deep, each with an ordinary compiled frame, and no call a tail call: the plain case that every unwinder
// must get right, once in an unoptimised and once in an optimised build.

// The compiler must not know the value of `x`, nor what happens between two instructions.
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

long guest_main(void);
long depth_1(long x);
long depth_2(long x);
long depth_3(long x);
long depth_4(long x);
long depth_5(long x);
long depth_6(long x);
long depth_7(long x);
long depth_8(long x);

noinline long depth_8(long x)
{
	OPAQUE(x);
	return x * 3 + 1;
}

// The values that live across the calls differ, so that the frames have different sizes.
noinline long depth_7(long x)
{
	long y = depth_8(x + 7);
	OPAQUE(y);
	return y + 7;
}

noinline long depth_6(long x)
{
	long y = depth_7(x + 6);
	OPAQUE(y);
	return y ^ x;
}

noinline long depth_5(long x)
{
	long a = x + 1;
	OPAQUE(a);
	long y = depth_6(x + 5);
	OPAQUE(y);
	return y + a * x;
}

noinline long depth_4(long x)
{
	volatile long local[3] = { x, x + 1, x + 2 };
	long y = depth_5(x + 4);
	OPAQUE(y);
	return y + local[1];
}

noinline long depth_3(long x)
{
	long a = x, b = x + 1, c = x + 2;
	OPAQUE(a);
	OPAQUE(b);
	OPAQUE(c);
	long y = depth_4(x + 3);
	OPAQUE(y);
	return y + a * b * c;
}

noinline long depth_2(long x)
{
	long y = depth_3(x + 2);
	OPAQUE(y);
	return y - x;
}

noinline long depth_1(long x)
{
	long y = depth_2(x + 1);
	OPAQUE(y);
	return y + 1;
}

long guest_main(void)
{
	long y = depth_1(0);
	OPAQUE(y);
	return y;
}

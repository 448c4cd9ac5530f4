//@ build shrink_wrap: -O2 -mllvm -enable-shrink-wrap=true
// A frame on one path only: `guarded` returns early without ever building a frame record, and builds one (with callee-saved
// registers) on its slow path, after the test. Whether the function has a frame record depends on the instruction, not on
// the function. (The -mllvm option is for riscv64, where clang 14 leaves shrink wrapping off; it changes nothing
// elsewhere.)

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

long guest_main(void);
long guarded(long x);
long work(long x);

noinline long work(long x)
{
	OPAQUE(x);
	return x + 2;
}

// The shape matters. clang 14 builds the frame at the entry after all if the early path touches memory, or if a value known
// before the test is needed after the first call.
noinline long guarded(long x)
{
	if (__builtin_expect(x <= 0, 1)) {
		long y = x * 3;
		OPAQUE(y);
		return y ^ 6;
	}
	long a = work(x);
	OPAQUE(a);
	long b = work(a + 1);
	OPAQUE(b);
	long c = work(a + b);
	OPAQUE(c);
	return c + 5;
}

long guest_main(void)
{
	long early = guarded(-4);
	OPAQUE(early);
	long slow = guarded(3);
	OPAQUE(slow);
	return early + slow;
}

// A guest of any depth and any length: `depth` activations of dive, and below them `rounds` calls of work. Benches write
// both words before the guest starts.

volatile long depth = 8;
volatile long rounds = 4;

__attribute__((noinline)) long work(long value)
{
	value ^= value << 1;
	__asm__ volatile("" : "+r"(value));
	return value + 3;
}

__attribute__((noinline)) long spin(long count)
{
	long sum = 0;

	while (count-- > 0)
		sum = work(sum + count);
	return sum;
}

__attribute__((noinline)) long dive(long left)
{
	long below = left > 1 ? dive(left - 1) : spin(rounds);

	__asm__ volatile("" : "+r"(below));
	return below + left;
}

long guest_main(void)
{
	long sum = dive(depth);

	__asm__ volatile("" : "+r"(sum));
	return sum;
}

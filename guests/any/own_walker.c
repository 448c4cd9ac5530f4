//@ build own_walker: -O2
// A guest that carries an unwinder of its own: `own_walk` follows frame records, as a kernel's would. The run never calls it;
// whoever judges it runs it at a point, on another engine over the memory as it is then.

#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define noinline __attribute__((noinline))

long guest_main(void);
long outer(long x);
long inner(long x);
unsigned long own_walk(unsigned long fp, unsigned long *entries, unsigned long most);

#ifdef __riscv
// psABI: s0 is the CFA, and the record lies below it.
#define RECORD(fp) ((const unsigned long *)(fp) - 2)
#else
#define RECORD(fp) ((const unsigned long *)(fp))
#endif

// Stores the return addresses from the caller on, and returns how many there are.
noinline unsigned long own_walk(unsigned long fp, unsigned long *entries, unsigned long most)
{
	unsigned long count = 0;

	while (fp && count < most) {
		const unsigned long *record = RECORD(fp);

		if (!record[1])
			break;
		entries[count++] = record[1];
		fp = record[0];
	}
	return count;
}

noinline long inner(long x)
{
	OPAQUE(x);
	return x + 1;
}

noinline long outer(long x)
{
	long y = inner(x);

	OPAQUE(y);
	return y + inner(y);
}

long guest_main(void)
{
	return outer(1);
}

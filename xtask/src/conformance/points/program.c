// What functions of the C library are called by: the points of real code. Linked statically, so that it is one file.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

static volatile int arrived;

__attribute__((noipa)) int in_handler(int number)
{
	arrived += number;
	return arrived;
}

static void handler(int number)
{
	in_handler(number);
	arrived++;
}

// Interrupted by a signal before each of its instructions: a prologue, calls, an epilogue.
__attribute__((noipa)) int interrupted(int *numbers, int count)
{
	char text[64];
	qsort(numbers, count, sizeof(*numbers), compare);
	int *found = bsearch(&numbers[1], numbers, count, sizeof(*numbers), compare);
	snprintf(text, sizeof(text), "%d %s %5.2f", *found, "text", 2.5);
	return (int)strtod(text, NULL);
}

int main(void)
{
	int numbers[] = {5, 3, 1, 4, 2, 9, 7, 8, 6};
	char copy[256], text[256];
	signal(SIGUSR1, handler);
	memset(text, 1, sizeof(text));
	memcpy(copy, text, sizeof(copy));
	return interrupted(numbers, 9) + copy[9] - 2;
}

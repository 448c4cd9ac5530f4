// A walk along frame pointers, as an unwinder in a process of its own (docs/unwinder-protocol.md). The same as unwinder.py; a real
// one would use a parser of JSON.
//
//     cc -o unwinder harness/examples/unwinder.c
//     unwind-harness run call_chain --unwinder-cmd ./unwinder

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line[1 << 20];

// The next message; no more: the end.
static void receive(void)
{
	if (!fgets(line, sizeof(line), stdin))
		exit(0);
}

// What stands behind a name in the message.
static const char *field(const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *found = strstr(line, key);
	return found ? found + strlen(key) : "";
}

static uint64_t number(const char *text)
{
	return strtoull(text + strspn(text, "\"["), NULL, 0);
}

// Reads two words. False if they cannot be read.
static int read_pair(uint64_t address, uint64_t pair[2])
{
	printf("{\"t\":\"read\",\"a\":\"0x%" PRIx64 "\",\"n\":16}\n", address);
	fflush(stdout);
	receive();
	unsigned char bytes[16];
	const char *data = field("d") + 1;
	for (int i = 0; i < 16; i++)
		if (sscanf(data + 2 * i, "%2hhx", &bytes[i]) != 1)
			return 0;
	memcpy(pair, bytes, sizeof(bytes));
	return 1;
}

int main(void)
{
	receive();
	// From the frame pointer to the pair {caller's frame pointer, return address}, in bytes.
	int record = strncmp(field("cpu"), "\"riscv64\"", 9) ? 0 : -16;
	char fp_name[16] = "";
	sscanf(field("fp"), "\"%15[a-z0-9]\"", fp_name);
	puts("{\"t\":\"hello\",\"proto\":1,\"name\":\"example-c\",\"version\":\"1\",\"claims\":\"by-end\"}");
	fflush(stdout);
	for (;;) {
		receive();
		if (!strncmp(field("t"), "\"bye\"", 5))
			return 0;
		if (strncmp(field("t"), "\"point\"", 7))
			continue; // modules and whatever comes later are not needed
		uint64_t id = strtoull(field("id"), NULL, 10), fp = number(field(fp_name)), pair[2];
		uint64_t low = number(field("stacks")), high = 0; // guests without a kernel have one stack
		sscanf(field("stacks"), "[[\"%*[^\"]\",\"%" SCNx64, &high);
		char frames[1 << 16] = "";
		size_t used = 0;
		int rises = 1;
		while (fp && rises && fp % 8 == 0 && fp + record >= low && fp + record + 16 <= high && used < sizeof(frames) - 128) {
			if (!read_pair(fp + record, pair))
				break;
			used += snprintf(frames + used, sizeof(frames) - used, "%s{\"pc\":\"0x%" PRIx64 "\",\"regs\":{\"%s\":\"0x%" PRIx64 "\"}}",
					 used ? "," : "", pair[1], fp_name, pair[0]);
			rises = !pair[0] || pair[0] > fp;
			if (rises)
				fp = pair[0];
		}
		printf("{\"t\":\"walk\",\"id\":%" PRIu64 ",\"frames\":[%s],\"end\":\"%s\"}\n", id, frames, fp ? "stopped" : "outermost");
		fflush(stdout);
	}
}

// The harness's protocol (docs/unwinder-protocol.md) for adapters in C. It relies on how the harness writes its messages: without
// spaces, and with the names of registers as keys.

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FRAMES 300
#define MAX_REGISTERS 33
#define BLOCK 256

static char *line;
static size_t line_size;

static struct {
	uint64_t id, pc, reg[MAX_REGISTERS], sp;
	int count; // of registers, by DWARF number
} point;

static char register_name[MAX_REGISTERS][16], sp_name[16], cpu_name[16], module_path[4096];
static int register_count;

static uint64_t frame_pc[MAX_FRAMES], frame_sp[MAX_FRAMES];
static int frame_count;

static void receive(void)
{
	if (getline(&line, &line_size, stdin) <= 0)
		exit(0);
}

static const char *field(const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *found = strstr(line, key);
	return found ? found + strlen(key) : "";
}

static uint64_t number(const char *text)
{
	return strtoull(*text == '"' ? text + 1 : text, NULL, 0);
}

static void hello(const char *name, const char *version, const char *refuse)
{
	sscanf(field("cpu"), "\"%15[^\"]", cpu_name);
	sscanf(field("sp"), "\"%15[^\"]", sp_name);
	const char *at = field("registers");
	for (int length; register_count < MAX_REGISTERS && sscanf(at + 1, "\"%15[^\"]\"%n", register_name[register_count], &length) == 1;
	     register_count++)
		at += 1 + length;
	printf("{\"t\":\"hello\",\"proto\":1,\"name\":\"%s\",\"version\":\"%s\"", name, version);
	printf(refuse ? ",\"refuse\":\"%s\"}\n" : "}\n", refuse);
	fflush(stdout);
}

// The bytes of hexadecimal digits, and how many. (sscanf would look for the end of the line each time.)
static int bytes_of(const char *digits, unsigned char *bytes, int most)
{
	int count = 0;
	for (; count < most; count++, digits += 2) {
		int value = 0;
		for (int i = 0; i < 2; i++) {
			int letter = digits[i];
			if (letter >= '0' && letter <= '9')
				value = value << 4 | (letter - '0');
			else if (letter >= 'a' && letter <= 'f')
				value = value << 4 | (letter - 'a' + 10);
			else
				return count;
		}
		bytes[count] = value;
	}
	return count;
}

// A word of the guest's memory, read in blocks that last as long as the point.
static __attribute__((unused)) int read_word(uint64_t address, uint64_t *value)
{
	static uint64_t base, of_point = -1;
	static unsigned char block[BLOCK];
	static int size;
	if (of_point != point.id || address < base || address + 8 > base + size) {
		printf("{\"t\":\"read\",\"a\":\"0x%" PRIx64 "\",\"n\":%d}\n", address, BLOCK);
		fflush(stdout);
		receive();
		size = bytes_of(field("d") + 1, block, BLOCK);
		base = address;
		of_point = point.id;
	}
	if (address + 8 > base + size)
		return 0;
	memcpy(value, block + (address - base), 8);
	return 1;
}

// The next question; modules are passed to `load` before it.
static void next_point(void (*load)(void))
{
	for (;;) {
		receive();
		const char *kind = field("t");
		if (!strncmp(kind, "\"bye\"", 5))
			exit(0);
		if (!strncmp(kind, "\"module\"", 8)) {
			if (sscanf(field("path"), "\"%4095[^\"]", module_path) != 1) {
				fprintf(stderr, "the guest is not one file, which this adapter needs\n");
				exit(1);
			}
			load();
		}
		if (strncmp(kind, "\"point\"", 7))
			continue;
		point.id = strtoull(field("id"), NULL, 10);
		point.pc = number(field("pc"));
		point.count = register_count;
		for (int i = 0; i < register_count; i++)
			point.reg[i] = number(field(register_name[i]));
		point.sp = number(field(sp_name));
		frame_count = 0;
		return;
	}
}

// Answers it. The first frame is the interrupted function; an SP of 0 is not known.
static void answer(const char *why)
{
	printf("{\"t\":\"walk\",\"id\":%" PRIu64 ",\"frames\":[", point.id);
	for (int i = 1; i < frame_count; i++) {
		printf("%s{\"pc\":\"0x%" PRIx64 "\"", i > 1 ? "," : "", frame_pc[i]);
		if (frame_sp[i])
			printf(",\"regs\":{\"%s\":\"0x%" PRIx64 "\"}", sp_name, frame_sp[i]);
		putchar('}');
	}
	printf("],\"end\":\"%s\",\"why\":\"%s\"}\n", why ? "stopped" : "outermost", why ? why : "");
	fflush(stdout);
}

// elfutils' libdwfl as an unwinder: cc -o dwfl_walk dwfl_walk.c -ldw -lelf. A walk without an error is its claim.
#define _GNU_SOURCE
#include "protocol.h"
#include <elfutils/libdwfl.h>
#include <elfutils/version.h>

#define TEXT_(number) #number
#define TEXT(number) TEXT_(number)

static Dwfl *dwfl;

static pid_t next_thread(Dwfl *d, void *argument, void **thread)
{
	(void)d;
	if (*thread)
		return 0;
	*thread = argument;
	return 42;
}

static bool memory_read(Dwfl *d, Dwarf_Addr address, Dwarf_Word *result, void *argument)
{
	(void)d;
	(void)argument;
	return read_word(address, result);
}

static bool initial_registers(Dwfl_Thread *thread, void *argument)
{
	(void)argument;
	int count = !strcmp(cpu_name, "x86_64") ? 16 : 32;
	if (count == 16) {
		point.reg[16] = point.pc;
		count = 17;
	}
	if (!dwfl_thread_state_registers(thread, 0, count, point.reg))
		return false;
	dwfl_thread_state_register_pc(thread, point.pc);
	return true;
}

static int take(Dwfl_Frame *frame, void *argument)
{
	(void)argument;
	Dwarf_Addr pc;
	bool is_activation;
	if (!dwfl_frame_pc(frame, &pc, &is_activation))
		return -1;
	frame_pc[frame_count++] = pc;
	return frame_count >= MAX_FRAMES;
}

static int no_elf(Dwfl_Module *m, void **u, const char *n, Dwarf_Addr b, char **f, Elf **e)
{
	(void)m, (void)u, (void)n, (void)b, (void)f, (void)e;
	return -1;
}

static int no_debug(Dwfl_Module *m, void **u, const char *n, Dwarf_Addr b, const char *f, const char *d, GElf_Word c, char **r)
{
	(void)m, (void)u, (void)n, (void)b, (void)f, (void)d, (void)c, (void)r;
	return -1;
}

static void load(void)
{
	static const Dwfl_Thread_Callbacks threads = {
		.next_thread = next_thread, .memory_read = memory_read, .set_initial_registers = initial_registers};
	static const Dwfl_Callbacks callbacks = {
		.find_elf = no_elf, .find_debuginfo = no_debug, .section_address = dwfl_offline_section_address};
	elf_version(EV_CURRENT);
	dwfl = dwfl_begin(&callbacks);
	dwfl_report_begin(dwfl);
	if (!dwfl_report_elf(dwfl, "guest", module_path, -1, 0, false)) {
		fprintf(stderr, "%s: %s\n", module_path, dwfl_errmsg(-1));
		exit(1);
	}
	dwfl_report_end(dwfl, NULL, NULL);
	if (!dwfl_attach_state(dwfl, NULL, 42, &threads, (void *)1)) {
		fprintf(stderr, "attach: %s\n", dwfl_errmsg(-1));
		exit(1);
	}
}

int main(void)
{
	receive();
	hello("libdwfl", TEXT(_ELFUTILS_VERSION), NULL);
	for (;;) {
		next_point(load);
		int result = dwfl_getthread_frames(dwfl, 42, take, NULL);
		answer(result == 0 ? NULL : result > 0 ? "too many frames" : dwfl_errmsg(-1));
	}
}

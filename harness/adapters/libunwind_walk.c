// nongnu libunwind as an unwinder, by its remote interface: cc -o libunwind_walk libunwind_walk.c -lunwind-x86_64. It reads the guest's
// index of .eh_frame and its memory through the harness. A walk that ends where there are data is its claim; it also ends without an error
// where it finds none, which is no claim.
#define _GNU_SOURCE
#include "protocol.h"
#include <elf.h>
#include <libunwind-x86_64.h>
#include <stdbool.h>

int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);

static uint64_t text_low = -1, text_high, index_address;

static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *info, int need, void *argument)
{
	uint64_t count;
	if (ip < text_low || ip >= text_high || !index_address || !read_word(index_address + 8, &count))
		return -UNW_ENOINFO;
	unw_dyn_info_t dynamic = {.format = UNW_INFO_FORMAT_REMOTE_TABLE, .start_ip = text_low, .end_ip = text_high};
	// The index: four bytes of encodings, the address of .eh_frame, the count, then two words of four bytes to an entry.
	dynamic.u.rti.segbase = index_address;
	dynamic.u.rti.table_data = index_address + 12;
	dynamic.u.rti.table_len = (uint32_t)count * 8 / sizeof(unw_word_t);
	return UNW_OBJ(dwarf_search_unwind_table)(space, ip, &dynamic, info, need, argument);
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *argument)
{
	(void)space, (void)info, (void)argument;
}

static int no_dynamic(unw_addr_space_t space, unw_word_t *list, void *argument)
{
	(void)space, (void)list, (void)argument;
	return -UNW_ENOINFO;
}

static int access_memory(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *argument)
{
	(void)space, (void)argument;
	return !write && read_word(address, value) ? 0 : -UNW_EINVAL;
}

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *argument)
{
	(void)space, (void)argument;
	if (write || number < 0 || number > UNW_X86_64_RIP)
		return -UNW_EBADREG;
	*value = number == UNW_X86_64_RIP ? point.pc : point.reg[number];
	return 0;
}

static int no_float(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write, void *argument)
{
	(void)space, (void)number, (void)value, (void)write, (void)argument;
	return -UNW_EBADREG;
}

static int no_resume(unw_addr_space_t space, unw_cursor_t *cursor, void *argument)
{
	(void)space, (void)cursor, (void)argument;
	return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t space, unw_word_t ip, char *name, size_t size, unw_word_t *offset, void *argument)
{
	(void)space, (void)ip, (void)name, (void)size, (void)offset, (void)argument;
	return -UNW_ENOINFO;
}

static void load(void)
{
	FILE *file = fopen(module_path, "rb");
	Elf64_Ehdr header;
	if (!file || fread(&header, sizeof(header), 1, file) != 1) {
		perror(module_path);
		exit(1);
	}
	fseek(file, header.e_phoff, SEEK_SET);
	Elf64_Phdr part;
	for (int i = 0; i < header.e_phnum && fread(&part, sizeof(part), 1, file) == 1; i++) {
		if (part.p_type == PT_GNU_EH_FRAME)
			index_address = part.p_vaddr;
		if (part.p_type == PT_LOAD && part.p_flags & PF_X && part.p_filesz) {
			text_low = part.p_vaddr < text_low ? part.p_vaddr : text_low;
			text_high = part.p_vaddr + part.p_memsz > text_high ? part.p_vaddr + part.p_memsz : text_high;
		}
	}
	fclose(file);
}

static const char *walk(unw_addr_space_t space)
{
	unw_cursor_t cursor;
	unw_word_t ip = 0;
	int result = unw_init_remote(&cursor, space, &point);
	while (result >= 0 && frame_count < MAX_FRAMES) {
		unw_get_reg(&cursor, UNW_REG_IP, &ip);
		if (frame_count && !ip)
			return NULL; // the return address of the frame before is undefined
		frame_pc[frame_count++] = ip;
		if ((result = unw_step(&cursor)) == 0) {
			// The end, or nothing is known: the interface does not say which.
			unw_proc_info_t info;
			return find_proc_info(space, ip - (frame_count > 1), &info, 0, &point) < 0 ? "no data" : NULL;
		}
	}
	return result < 0 ? unw_strerror(result) : "too many frames";
}

int main(void)
{
	receive();
	static unw_accessors_t accessors = {
		.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = no_dynamic,
		.access_mem = access_memory,
		.access_reg = access_register,
		.access_fpreg = no_float,
		.resume = no_resume,
		.get_proc_name = no_name,
	};
	sscanf(field("cpu"), "\"%15[^\"]", cpu_name);
	hello("libunwind", "1.6", strcmp(cpu_name, "x86_64") ? "this build of libunwind is for x86_64 alone" : NULL);
	unw_addr_space_t space = unw_create_addr_space(&accessors, 0);
	// Its cache would be of other guests' memory.
	unw_set_caching_policy(space, UNW_CACHE_NONE);
	for (;;) {
		next_point(load);
		answer(walk(space));
	}
}

// An unwinder that knows its own process alone, as a profiler runs it in a signal's handler. The guest's file and stacks are mapped at their
// own addresses; a signal is raised, the point's registers take the place of those in its frame, and the handler walks: through that frame
// into the guest, of which nothing runs. Guests must be at addresses that are free here.
//   cc -o libgcc_walk signal_walk.c                                              libgcc's _Unwind_Backtrace
//   cc -DNAME='"llvm-libunwind"' -o llvm_walk signal_walk.c -l:libunwind.so.1    LLVM's
// Cross-compiled and run by qemu-user, it walks on other CPUs. A walk ends with a pc of 0 where the CFI says that there is no caller, and that
// is its claim; it also ends where nothing is known. An unwinder that crashes takes this process with it.
#define _GNU_SOURCE
#include "protocol.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

#ifndef NAME
#define NAME "libgcc"
#endif

#define PAGE 4096ull
#define RED_ZONE 128
#define MOST 0x10000

static struct dl_phdr_info guest_info;
static Elf64_Phdr parts[64];
static uint64_t mapped[64][2];
static int mapped_count;
static uint64_t guest_low, guest_high, guest_index;

// The loader does not know the guest, so this stands in front of its list.
int dl_iterate_phdr(int (*each)(struct dl_phdr_info *, size_t, void *), void *argument)
{
	static int (*of_loader)(int (*)(struct dl_phdr_info *, size_t, void *), void *);
	if (!of_loader)
		*(void **)&of_loader = dlsym(RTLD_NEXT, "dl_iterate_phdr");
	int result = of_loader(each, argument);
	return result || !guest_info.dlpi_phnum ? result : each(&guest_info, sizeof(guest_info), argument);
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE
// glibc's newer way to the same, which unwinders prefer.
int _dl_find_object(void *address, struct dl_find_object *found)
{
	static int (*of_loader)(void *, struct dl_find_object *);
	if (!of_loader)
		*(void **)&of_loader = dlsym(RTLD_NEXT, "_dl_find_object");
	uint64_t pc = (uint64_t)address;
	if (pc < guest_low || pc >= guest_high || !guest_index)
		return of_loader(address, found);
	memset(found, 0, sizeof(*found));
	found->dlfo_map_start = (void *)guest_low;
	found->dlfo_map_end = (void *)guest_high;
	found->dlfo_eh_frame = (void *)guest_index;
	return 0;
}
#endif

static void map(uint64_t low, uint64_t high)
{
	low &= -PAGE;
	high = (high + PAGE - 1) & -PAGE;
	for (int i = 0; i < mapped_count; i++)
		if (mapped[i][0] <= low && high <= mapped[i][1])
			return;
	if (mapped_count == 64 || mmap((void *)low, high - low, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
				       -1, 0) != (void *)low) {
		fprintf(stderr, "0x%" PRIx64 "-0x%" PRIx64 " is not free in this process\n", low, high);
		exit(1);
	}
	mapped[mapped_count][0] = low;
	mapped[mapped_count++][1] = high;
}

static void load(void)
{
	FILE *file = fopen(module_path, "rb");
	Elf64_Ehdr header;
	if (!file || fread(&header, sizeof(header), 1, file) != 1 || header.e_phnum > 64) {
		perror(module_path);
		exit(1);
	}
	fseek(file, header.e_phoff, SEEK_SET);
	guest_info.dlpi_phnum = fread(parts, sizeof(*parts), header.e_phnum, file);
	guest_info.dlpi_phdr = parts;
	guest_info.dlpi_name = "guest";
	guest_info.dlpi_adds = 1000; // so that nobody remembers a list without it
	uint64_t low = -1, high = 0;
	for (int i = 0; i < guest_info.dlpi_phnum; i++) {
		if (parts[i].p_type == PT_GNU_EH_FRAME)
			guest_index = parts[i].p_vaddr;
		if (parts[i].p_type != PT_LOAD)
			continue;
		low = parts[i].p_vaddr < low ? parts[i].p_vaddr : low;
		high = parts[i].p_vaddr + parts[i].p_memsz > high ? parts[i].p_vaddr + parts[i].p_memsz : high;
	}
	map(low, high);
	guest_low = low;
	guest_high = high;
	for (int i = 0; i < guest_info.dlpi_phnum; i++) {
		fseek(file, parts[i].p_offset, SEEK_SET);
		if (parts[i].p_type == PT_LOAD && fread((void *)parts[i].p_vaddr, 1, parts[i].p_filesz, file) != parts[i].p_filesz) {
			fprintf(stderr, "%s: truncated\n", module_path);
			exit(1);
		}
	}
	fclose(file);
}

static void fetch(uint64_t low, uint64_t high)
{
	while (low < high) {
		uint64_t size = high - low < MOST ? high - low : MOST;
		printf("{\"t\":\"read\",\"a\":\"0x%" PRIx64 "\",\"n\":%" PRIu64 "}\n", low, size);
		fflush(stdout);
		receive();
		int got = bytes_of(field("d") + 1, (unsigned char *)low, size);
		if (!got)
			return;
		low += got;
	}
}

// The stacks of the point: the running one from SP up (and the red zone of x86-64), the others whole.
static void fetch_stacks(const char *stacks)
{
	uint64_t all[64][2];
	int count = 0, length;
	stacks++; // the bracket; a later message overwrites the text
	while (count < 64 && sscanf(stacks, "[\"%" SCNx64 "\",\"%" SCNx64 "\"]%n", &all[count][0], &all[count][1], &length) == 2) {
		count++;
		stacks += length;
		stacks += *stacks == ',';
	}
	for (int i = 0; i < count; i++) {
		uint64_t low = all[i][0], high = all[i][1];
		map(low, high);
		if (low <= point.sp && point.sp <= high) {
			uint64_t live = point.sp - (strcmp(cpu_name, "x86_64") ? 0 : RED_ZONE);
			live = live < low ? low : live;
			uint64_t dead = live - low < PAGE ? low : live - PAGE;
			memset((void *)dead, 0, live - dead);
			low = live;
		}
		fetch(low, high);
	}
}

static _Unwind_Reason_Code take(struct _Unwind_Context *context, void *argument)
{
	(void)argument;
	int before = 0;
	frame_pc[frame_count++] = _Unwind_GetIPInfo(context, &before);
	return frame_count < MAX_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static void handler(int number, siginfo_t *info, void *argument)
{
	(void)number, (void)info;
	ucontext_t *context = argument, saved = *context;
#if defined __x86_64__
	static const int order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
				    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	for (int i = 0; i < 16; i++)
		context->uc_mcontext.gregs[order[i]] = point.reg[i];
	context->uc_mcontext.gregs[REG_RIP] = point.pc;
#elif defined __aarch64__
	for (int i = 0; i < 31; i++)
		context->uc_mcontext.regs[i] = point.reg[i];
	context->uc_mcontext.sp = point.sp;
	context->uc_mcontext.pc = point.pc;
#else
	for (int i = 1; i < 32; i++)
		context->uc_mcontext.__gregs[i] = point.reg[i];
	context->uc_mcontext.__gregs[0] = point.pc;
#endif
	_Unwind_Backtrace(take, NULL);
	*context = saved;
}

// The frames from the point on; why the walk is not complete.
static const char *from_point(void)
{
	int first = 0;
	while (first < frame_count && frame_pc[first] != point.pc)
		first++;
	if (first == frame_count) {
		frame_count = 0;
		return "it did not reach the interrupted function";
	}
	frame_count -= first;
	memmove(frame_pc, frame_pc + first, frame_count * sizeof(*frame_pc));
	if (frame_pc[frame_count - 1])
		return frame_count + first == MAX_FRAMES ? "too many frames" : "no data";
	frame_count--;
	return NULL;
}

// By a pointer: `raise` is declared as one that calls nothing here, and so as one that leaves `frame_count` alone.
static int (*volatile call_raise)(int) = raise;

int main(void)
{
	receive();
#if defined __x86_64__
	const char *own = "x86_64";
#elif defined __aarch64__
	const char *own = "arm64";
#else
	const char *own = "riscv64";
#endif
	sscanf(field("cpu"), "\"%15[^\"]", cpu_name);
	hello(NAME, __VERSION__, strcmp(cpu_name, own) ? "it walks on the CPU that it was compiled for alone" : NULL);
	stack_t stack = {.ss_sp = malloc(1 << 20), .ss_size = 1 << 20};
	sigaltstack(&stack, NULL);
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGUSR1, &action, NULL);
	for (;;) {
		next_point(load);
		fetch_stacks(field("stacks"));
		frame_count = 0;
		call_raise(SIGUSR1);
		answer(from_point());
	}
}

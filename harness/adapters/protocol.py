"""The harness's protocol (docs/unwinder-protocol.md) for adapters in Python, and ELF cores of its points for debuggers."""
import json
import os
import struct
import sys
import tempfile

MACHINE = {"arm64": 183, "riscv64": 243, "x86_64": 62}


def without_bss(path):
    """A copy of an ELF file without memory of zeros: the stacks are a part of it in guests, and debuggers would read them there."""
    data = bytearray(open(path, "rb").read())
    parts, sections = struct.unpack_from("<QQ", data, 32)
    part_size, part_count, section_size, section_count = struct.unpack_from("<HHHH", data, 54)
    for at in range(parts, parts + part_size * part_count, part_size):
        kind, _, _, _, _, in_file = struct.unpack_from("<IIQQQQ", data, at)
        if kind == 1:
            struct.pack_into("<Q", data, at + 40, in_file)
    for at in range(sections, sections + section_size * section_count, section_size):
        if struct.unpack_from("<I", data, at + 4)[0] == 8:  # SHT_NOBITS
            struct.pack_into("<Q", data, at + 32, 0)
    copy = tempfile.NamedTemporaryFile(prefix="guest", suffix=".elf")
    copy.write(data)
    copy.flush()
    return copy


class Harness:
    """The other side. Whatever a debugger prints goes to standard error instead."""

    def __init__(self):
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.hello = self.receive()
        self.cpu = self.hello["cpu"]

    def receive(self):
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def send(self, **message):
        self.out.write(json.dumps(message) + "\n")
        self.out.flush()

    def read(self, address, size):
        data = b""
        while len(data) < size:
            self.send(t="read", a=hex(address + len(data)), n=size - len(data))
            more = bytes.fromhex(self.receive()["d"])
            if not more:
                break
            data += more
        return data

    def serve(self, name, version, load, walk, cpus=tuple(MACHINE), claims="by-end", as_core=True):
        """Answers questions. `load` takes the path of the guest's file; `walk` a core's bytes, or the question itself, and returns
        frames (pc, SP or None), the interrupted function first, and why the walk ended, or None at the outermost frame."""
        if self.cpu not in cpus:
            return self.send(t="hello", proto=1, name=name, version=version, refuse=f"it does not know {self.cpu}")
        self.send(t="hello", proto=1, name=name, version=version, claims=claims)
        while True:
            message = self.receive()
            if message["t"] == "bye":
                return
            if message["t"] == "module":
                if not message["path"]:
                    raise SystemExit("the guest is not one file, which this adapter needs")
                file = without_bss(message["path"])
                load(file.name)
            if message["t"] == "point":
                frames, why = walk(self.core(message) if as_core else message)
                told = [self.frame(pc, sp) for pc, sp in frames[1:]]
                self.send(t="walk", id=message["id"], frames=told, end="stopped" if why else "outermost", why=why or "")

    def frame(self, pc, sp):
        return {"pc": hex(pc), "regs": {} if sp is None else {self.hello["sp"]: hex(sp)}}

    def core(self, point):
        """An ELF core with the registers and the stacks: the running one from SP up, with the red zone of x86-64 below it; others whole."""
        regs = {name: int(value, 16) for name, value in point["regs"].items()}
        pc, sp = int(point["pc"], 16), regs[self.hello["sp"]]
        live = sp - 128 if self.cpu == "x86_64" else sp  # what is below may be overwritten
        bounds = [(int(low, 16), int(high, 16)) for low, high in point["stacks"]]
        bounds = [(max(low, live) if low <= sp <= high else low, high) for low, high in bounds]
        stacks = [(low, self.read(low, high - low)) for low, high in sorted(bounds) if low < high]
        order = self.hello["registers"]
        if self.cpu == "arm64":
            general = [regs.get(name, 0) for name in order[:32]] + [pc, 0]
        elif self.cpu == "riscv64":
            general = [pc] + [regs.get(name, 0) for name in order[1:32]]
        else:
            names = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi".split()
            general = [regs[name] for name in names] + [2**64 - 1, pc, 0x33, 0x202, sp, 0x2B] + [0] * 6
        status = struct.pack("<iiihxxQQiiii", 5, 0, 0, 5, 0, 0, 4242, 1, 4242, 4242) + bytes(64)
        status += struct.pack(f"<{len(general)}Q", *general) + bytes(8)
        info = struct.pack("<cccB4xQIIiiii16s80s", b"\0", b"R", b"\0", 0, 0, 0, 0, 4242, 1, 4242, 4242, b"guest", b"guest")
        described = [(b"CORE", 1, status), (b"CORE", 3, info)]
        if self.cpu == "arm64":
            # NT_ARM_PAC_MASK: the bits of a signature in addresses of 48 bits, of data and of code.
            described.append((b"LINUX", 0x406, struct.pack("<QQ", 0x7F << 48, 0x7F << 48)))
        notes = b"".join(
            struct.pack("<III", len(owner) + 1, len(data), kind) + owner.ljust(8, b"\0") + data + bytes(-len(data) % 4)
            for owner, kind, data in described
        )
        at = 64 + 56 * (1 + len(stacks))
        flags = 5 if self.cpu == "riscv64" else 0
        # LLDB takes a core of another system than Linux (OSABI 3) for none.
        header = b"\x7fELF\2\1\1\3" + bytes(8)
        header += struct.pack("<HHIQQQIHHHHHH", 4, MACHINE[self.cpu], 1, 0, 64, 0, flags, 64, 56, 1 + len(stacks), 0, 0, 0)
        header += struct.pack("<IIQQQQQQ", 4, 4, at, 0, 0, len(notes), len(notes), 4)
        at += len(notes)
        for low, stack in stacks:
            header += struct.pack("<IIQQQQQQ", 1, 6, at, low, 0, len(stack), len(stack), 1)
            at += len(stack)
        return header + notes + b"".join(stack for _, stack in stacks)

"""perf as an unwinder: --unwinder-cmd 'python3 harness/adapters/perf_walk.py', on x86-64.

Each point is a perf.data with one sample, as `perf record --call-graph dwarf` takes it, and `perf script` unwinds it. A profiler claims
nothing. Behind the stack's end is a word of zeros: a thread's stack has data there, and perf 6.1 cannot read the last word of what it has.
"""
import os
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from protocol import Harness

ORDER = "rax rbx rcx rdx rsi rdi rbp rsp ip flags cs ss r8 r9 r10 r11 r12 r13 r14 r15".split()
MASK, TYPE = 0xFF0FFF, 1 | 2 | 4 | 1 << 5 | 1 << 12 | 1 << 13  # ip, tid, time, chain, registers, stack
FLAGS = 1 << 8 | 1 << 9 | 1 << 18 | 1 << 23  # mmap, comm, an id for every record, mmap2
MOST = 61440
harness = Harness()
folder = tempfile.TemporaryDirectory()
guest = {}


def padded(data):
    return data + bytes(-len(data) % 8)


def record(kind, body):
    return struct.pack("<IHH", kind, 2, len(body) + 8) + body


def load(path):
    """The records of the process: its name, and what of the file is mapped as code."""
    who = struct.pack("<IIQ", 4242, 4242, 1)
    records = record(3, struct.pack("<II", 4242, 4242) + padded(b"guest\0") + who)
    data = open(path, "rb").read()
    at, size, count = (*struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
    for index in range(count):
        kind, flags, offset, low, _, _, length = struct.unpack_from("<IIQQQQQ", data, at + index * size)
        if kind == 1 and flags & 1:
            start, end = low & -4096, (low + length + 4095) & -4096
            name = padded(path.encode() + b"\0")
            body = struct.pack("<IIQQQIIQQII", 4242, 4242, start, end - start, offset & -4096, 8, 1, 1, 0, 5, 2)
            records += record(10, body + name + who)
            guest.setdefault("text", []).append((start, end, start - (offset & -4096)))
    guest["records"] = records


def sample(point):
    regs = {name: int(value, 16) for name, value in point["regs"].items()}
    regs.update(ip=int(point["pc"], 16), flags=0x202, cs=0x33, ss=0x2B)
    sp = regs["rsp"]
    high = max((int(high, 16) for low, high in point["stacks"] if int(low, 16) <= sp <= int(high, 16)), default=sp)
    stack = padded(harness.read(sp, min(high - sp, MOST - 8))) + bytes(8)
    body = struct.pack("<QIIQQQQ", regs["ip"], 4242, 4242, 1000, 1, 2**64 - 512, 2)
    body += struct.pack("<20Q", *(regs[name] for name in ORDER))
    return record(9, body + struct.pack("<Q", len(stack)) + stack + struct.pack("<Q", len(stack)))


def walk(point):
    attribute = struct.pack("<IIQQQQQ", 1, 128, 0, 1, TYPE, 0, FLAGS) + bytes(32) + struct.pack("<QI", MASK, 8192) + bytes(36)
    records = guest["records"] + sample(point)
    header = struct.pack("<QQ6Q", 104, 144, 104, 144, 248, len(records), 0, 0)
    name = os.path.join(folder.name, "perf.data")
    with open(name, "wb") as file:
        file.write(b"PERFILE2" + header + bytes(32) + attribute + bytes(16) + records)
    command = ["perf", "--buildid-dir", folder.name, "script", "-f", "-i", name, "-F", "ip", "-G", "--no-demangle"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1:])
    frames = [int(text, 16) for text in re.findall(r"^\s*([0-9a-f]+)\b", done.stdout, re.M)]
    # Callers are printed as one less than their return address.
    return [(frame + (index > 0), None) for index, frame in enumerate(frames)], "a profiler does not say"


version = subprocess.run(["perf", "--version"], capture_output=True, text=True).stdout.split()[-1]
harness.serve("perf", version, load, walk, ("x86_64",), claims="never", as_core=False)

#!/usr/bin/env python3
"""A walk along frame pointers, as an unwinder in a process of its own (docs/unwinder-protocol.md).

    unwind-harness run call_chain --unwinder-cmd 'python3 harness/examples/unwinder.py'
"""
import json
import sys

# From the frame pointer to the pair {caller's frame pointer, return address}, in bytes.
RECORD = {"arm64": 0, "riscv64": -16, "x86_64": 0}


def send(**message):
    print(json.dumps(message), flush=True)


def receive():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    return json.loads(line)


def read(address, size):
    """The bytes at an address; fewer, if they cannot all be read."""
    send(t="read", a=hex(address), n=size)
    return bytes.fromhex(receive()["d"])


def walk(cpu, fp_name, point):
    """The callers, youngest first, and how the walk ended."""
    stacks = [(int(low, 16), int(high, 16)) for low, high in point["stacks"]]
    fp = int(point["regs"][fp_name], 16)
    frames = []
    while fp != 0:
        record = fp + RECORD[cpu]
        if record % 8 or not any(low <= record and record + 16 <= high for low, high in stacks):
            return frames, "stopped", f"the frame pointer {fp:#x} is on no stack"
        data = read(record, 16)
        if len(data) < 16:
            return frames, "stopped", f"no memory at {record:#x}"
        caller, pc = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
        frames.append({"pc": hex(pc), "regs": {fp_name: hex(caller)}})
        if caller != 0 and caller <= fp:
            return frames, "stopped", "the frame pointer does not rise"
        fp = caller
    return frames, "outermost", ""


def main():
    hello = receive()
    send(t="hello", proto=1, name="example-py", version="1", claims="by-end")
    while True:
        message = receive()
        if message["t"] == "bye":
            return
        if message["t"] == "point":  # modules and whatever comes later are not needed
            frames, end, why = walk(hello["cpu"], hello["fp"], message)
            send(t="walk", id=message["id"], frames=frames, end=end, why=why)


main()

"""drgn as an unwinder: --unwinder-cmd 'python3 harness/adapters/drgn_walk.py', with the package drgn of PyPI.

drgn reads each point as a core of a process. It does not say why a walk has ended, so that the end of each is its claim.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from protocol import Harness

import drgn

harness = Harness()
core = tempfile.NamedTemporaryFile(suffix=".core")
guest = {}


def load(path):
    data = open(path, "rb").read()
    at, size, count = (int.from_bytes(data[low : low + n], "little") for low, n in ((32, 8), (54, 2), (56, 2)))
    words = [[int.from_bytes(data[low : low + 8], "little") for low in range(at + i * size, at + i * size + 56, 8)] for i in range(count)]
    loads = [(part[2], part[2] + part[5]) for part in words if part[0] & 0xFFFFFFFF == 1]
    guest.update(path=path, range=(min(low for low, _ in loads) & -4096, max(high for _, high in loads)))


def walk(data):
    core.seek(0)
    core.truncate()
    core.write(data)
    core.flush()
    program = drgn.Program()
    program.set_core_dump(core.name)
    program.set_enabled_debug_info_finders([])
    module = program.extra_module(guest["path"], create=True)
    module = module[0] if isinstance(module, tuple) else module
    module.address_ranges = [guest["range"]]
    module.try_file(guest["path"], force=True)
    frames = []
    for frame in next(iter(program.threads())).stack_trace():
        try:
            frames.append((frame.pc, None))
        except LookupError:
            return frames, "the last frame has no pc"
    return frames, None


harness.serve("drgn", drgn.__version__ if hasattr(drgn, "__version__") else "0.3", load, walk, ("arm64", "x86_64"))

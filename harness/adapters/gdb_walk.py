"""gdb as an unwinder: --unwinder-cmd 'gdb-multiarch -nx -q -batch -x harness/adapters/gdb_walk.py'.

gdb reads each point as a core. Where its walk ends without a reason, or at a frame that it calls the outermost, it presents the trace as
complete; every other reason is a stop.
"""
import os
import sys
import tempfile

import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from protocol import Harness

COMPLETE = (gdb.FRAME_UNWIND_OUTERMOST, gdb.FRAME_UNWIND_NO_REASON)
harness = Harness()
core = tempfile.NamedTemporaryFile(suffix=".core")


def load(path):
    for command in ("pagination off", "confirm off", "backtrace past-main on", "backtrace past-entry on", "auto-load no"):
        gdb.execute("set " + command)
    gdb.execute("file " + path, to_string=True)


def sp_of(frame):
    try:
        return int(frame.read_register(harness.hello["sp"])) % 2**64
    except (gdb.error, ValueError):
        return None


def walk(data):
    core.seek(0)
    core.truncate()
    core.write(data)
    core.flush()
    gdb.execute("core-file " + core.name, to_string=True)
    frames, frame, why = [], gdb.newest_frame(), None
    while frame is not None and len(frames) < 300:
        frames.append((frame.pc(), sp_of(frame)))
        try:
            last, frame = frame, frame.older()
        except gdb.error as error:  # "PC not saved": its backtrace, too, stops here and says so
            why = str(error)
            break
        if frame is None and last.unwind_stop_reason() not in COMPLETE:
            why = gdb.frame_stop_reason_string(last.unwind_stop_reason())
    gdb.execute("core-file", to_string=True)
    return frames, why


knows_all = "aarch64" in gdb.execute("complete set architecture aarch64", to_string=True)
harness.serve("gdb", gdb.VERSION, load, walk, ("arm64", "riscv64", "x86_64") if knows_all else ("x86_64",))

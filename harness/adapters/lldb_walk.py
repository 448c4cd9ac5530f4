"""LLDB as an unwinder: --unwinder-cmd 'python3 harness/adapters/lldb_walk.py', with LLDB's Python module in PYTHONPATH.

LLDB reads each point as a core. It does not say why a walk has ended, so that the end of each is its claim.
"""
import glob
import importlib.machinery
import importlib.util
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from protocol import Harness

# Debian's package of the module links to a library that another package has.
for library in glob.glob("/usr/lib/*/liblldb-19.so.1"):
    loader = importlib.machinery.ExtensionFileLoader("_lldb", library)
    spec = importlib.util.spec_from_file_location("_lldb", library, loader=loader)
    sys.modules["_lldb"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["_lldb"])

import lldb

harness = Harness()
debugger = lldb.SBDebugger.Create()
debugger.SetAsync(False)
core = tempfile.NamedTemporaryFile(suffix=".core")
target = None


def load(path):
    global target
    target = debugger.CreateTarget(path)


def walk(data):
    core.seek(0)
    core.truncate()
    core.write(data)
    core.flush()
    error = lldb.SBError()
    process = target.LoadCore(core.name, error)
    if not process or not process.IsValid():
        return [], f"no process: {error}"
    target.SetModuleLoadAddress(target.GetModuleAtIndex(0), 0)  # where it says, which a core without its headers does not
    frames = [(frame.GetPC(), None) for frame in process.GetThreadAtIndex(0)]
    process.Destroy()
    return frames, None


version = lldb.SBDebugger.GetVersionString().split()
harness.serve("lldb", version[2] if len(version) > 2 else "?", load, walk)

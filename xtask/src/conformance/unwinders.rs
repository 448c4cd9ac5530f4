//! The unwinders: how each is driven, from which package, or why it is not.

/// How an unwinder is driven.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// By the harness itself, under its own name.
    OfHarness,
    /// As a process: this command, in which ADAPTERS is their folder.
    Command(&'static str),
    /// As a process: this source in C, with these arguments of the linker.
    Compiled(&'static str, &'static [&'static str]),
    /// Not yet, or not at all: why.
    Not(&'static str),
}

/// An unwinder.
#[derive(Debug)]
pub(super) struct Unwinder {
    pub(super) name: &'static str,
    /// Debian's packages.
    pub(super) packages: &'static [&'static str],
    pub(super) how: How,
    /// The command that says its version; `=` and a text where nobody needs to be asked.
    pub(super) version: &'static [&'static str],
    pub(super) licence: &'static str,
}

const fn not(name: &'static str, licence: &'static str, reason: &'static str) -> Unwinder {
    Unwinder { name, packages: &[], how: How::Not(reason), version: &[], licence }
}

/// An evaluator of CFI comes first: the null test of all others.
pub(super) const ALL: &[Unwinder] = &[
    Unwinder {
        name: "dwarf",
        packages: &[],
        how: How::OfHarness,
        version: &["=", "gimli 0.33, by this project's evaluator"],
        licence: "MIT OR Apache-2.0",
    },
    Unwinder {
        name: "framehop",
        packages: &[],
        how: How::OfHarness,
        version: &["=", "0.16.0 (crates.io)"],
        licence: "MIT OR Apache-2.0",
    },
    Unwinder {
        name: "gdb",
        packages: &["gdb-multiarch"],
        how: How::Command("gdb-multiarch -nx -q -batch -x ADAPTERS/gdb_walk.py"),
        version: &["gdb-multiarch", "--version"],
        licence: "GPL-3.0-or-later",
    },
    Unwinder {
        name: "lldb",
        packages: &["lldb-14", "python3-lldb-14"],
        how: How::Command("/usr/bin/python3 ADAPTERS/lldb_walk.py"),
        version: &["lldb-14", "--version"],
        licence: "Apache-2.0 WITH LLVM-exception",
    },
    Unwinder {
        name: "libdwfl",
        packages: &["libdw-dev", "elfutils"],
        how: How::Compiled("dwfl_walk.c", &["-l:libdw.so.1", "-l:libelf.so.1"]),
        version: &["eu-readelf", "--version"],
        licence: "LGPL-3.0-or-later OR GPL-2.0-or-later",
    },
    not(
        "libunwind",
        "MIT",
        "not driven: Debian's build reads no .debug_frame of another process's file, and the guests have no .eh_frame",
    ),
    not(
        "LLVM libunwind",
        "Apache-2.0 WITH LLVM-exception",
        "not driven: it unwinds its own process alone, which needs guests at low addresses",
    ),
    not(
        "libgcc, glibc backtrace",
        "GPL-3.0 with exception, LGPL-2.1",
        "not driven: they unwind their own process alone",
    ),
    not("perf", "GPL-2.0-only", "not driven: its unwinder needs guests at addresses of user space with .eh_frame"),
    not("drgn", "LGPL-2.1-or-later", "not driven: it uses CFI only where there is other debugging information"),
    not(
        "minidump-stackwalk",
        "MIT",
        "not driven: it needs Breakpad's symbol files; `export --format minidump` writes its input",
    ),
];

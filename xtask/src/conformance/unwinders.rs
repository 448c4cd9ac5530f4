//! The unwinders: how each is driven, from which package, or why it is not.

/// How an unwinder is driven.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// By the harness itself, under its own name.
    OfHarness,
    /// As a process: this command, in which ADAPTERS is the folder of adapters, and VENV that of the environment of Python.
    Command(&'static str),
    /// As a process of this machine: this source in C, with these arguments of the compiler.
    Compiled(&'static str, &'static [&'static str]),
    /// The same for each CPU, by its own compiler; those that are not this machine's run under qemu-user.
    OwnProcess(&'static str, &'static [&'static str]),
    /// Not yet, or not at all: why.
    Not(&'static str),
}

/// An unwinder.
#[derive(Debug)]
pub(super) struct Unwinder {
    pub(super) name: &'static str,
    /// Debian's packages; the first one's version is the unwinder's.
    pub(super) packages: &'static [&'static str],
    pub(super) how: How,
    /// Its version, where no package of Debian says it.
    pub(super) version: &'static str,
    pub(super) licence: &'static str,
    /// How it is driven, and when a walk of it counts as claimed to be complete.
    pub(super) told: &'static str,
    /// Scenarios in which it cannot be judged as it is driven here, and why.
    pub(super) not_applicable: &'static [(&'static str, &'static str)],
}

const fn not(name: &'static str, licence: &'static str, reason: &'static str) -> Unwinder {
    Unwinder { name, packages: &[], how: How::Not(reason), version: "", licence, told: "", not_applicable: &[] }
}

/// An evaluator of CFI comes first: the null test of all others.
pub(super) const ALL: &[Unwinder] = &[
    Unwinder {
        name: "gimli",
        packages: &[],
        how: How::OfHarness,
        version: "0.33 (crates.io)",
        licence: "MIT OR Apache-2.0",
        told: "null test: its rows, applied to registers; complete where the return address is undefined",
        not_applicable: &[],
    },
    Unwinder {
        name: "dwarf",
        packages: &[],
        how: How::OfHarness,
        version: "of this project",
        licence: "MIT OR Apache-2.0",
        told: "control: this project's own evaluator; complete where the return address is undefined",
        not_applicable: &[],
    },
    Unwinder {
        name: "framehop",
        packages: &[],
        how: How::OfHarness,
        version: "0.16.0 (crates.io)",
        licence: "MIT OR Apache-2.0",
        told: "in process; complete where it returns `Ok(None)`",
        not_applicable: &[],
    },
    Unwinder {
        name: "gdb",
        packages: &["gdb-multiarch"],
        how: How::Command("gdb-multiarch -nx -q -batch -x ADAPTERS/gdb_walk.py"),
        version: "",
        licence: "GPL-3.0-or-later",
        told: "a core for each point; complete where it gives no reason for the end, or the outermost frame",
        not_applicable: &[],
    },
    Unwinder {
        name: "lldb",
        packages: &["lldb-19", "python3-lldb-19"],
        how: How::Command(
            "env PYTHONPATH=/usr/lib/llvm-19/lib/python3.11/site-packages /usr/bin/python3 ADAPTERS/lldb_walk.py",
        ),
        version: "",
        licence: "Apache-2.0 WITH LLVM-exception",
        told: "a core for each point; it never says why a walk has ended, so each end is a claim",
        not_applicable: &[],
    },
    Unwinder {
        name: "libdwfl",
        packages: &["libdw-dev"],
        how: How::Compiled("dwfl_walk.c", &["-ldw", "-lelf"]),
        version: "",
        licence: "LGPL-3.0-or-later OR GPL-2.0-or-later",
        told: "`dwfl_attach_state`; complete where it returns without an error",
        not_applicable: &[],
    },
    Unwinder {
        name: "libunwind",
        packages: &["libunwind-dev"],
        how: How::Compiled("libunwind_walk.c", &["-lunwind-x86_64"]),
        version: "",
        licence: "MIT",
        told: "nongnu, remote accessors; complete where it ends without an error and has data for the last frame",
        not_applicable: &[],
    },
    Unwinder {
        name: "llvm-libunwind",
        packages: &["libunwind-19"],
        how: How::Compiled("signal_walk.c", &["-DNAME=\"llvm-libunwind\"", "-l:libunwind.so.1"]),
        version: "",
        licence: "Apache-2.0 WITH LLVM-exception",
        told: "`_Unwind_Backtrace` in a signal's handler, across its frame; it never says why a walk has ended, and claims nothing",
        not_applicable: &[],
    },
    Unwinder {
        name: "libgcc",
        packages: &["libgcc-s1", "gcc-aarch64-linux-gnu", "gcc-riscv64-linux-gnu", "qemu-user"],
        how: How::OwnProcess("signal_walk.c", &[]),
        version: "",
        licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
        told: "`_Unwind_Backtrace` in a signal's handler, across its frame, on other CPUs by qemu-user with the libgcc for cross compilers; complete where the last pc is 0",
        not_applicable: &[(
            "pac",
            "it does not strip signatures but checks them, with the keys of its own process, which are not those of the point",
        )],
    },
    Unwinder {
        name: "drgn",
        packages: &["python3-venv"],
        how: How::Command("VENV/bin/python3 ADAPTERS/drgn_walk.py"),
        version: "0.3.0 (PyPI)",
        licence: "LGPL-2.1-or-later",
        told: "a core of a process for each point; it never says why a walk has ended, so each end is a claim",
        not_applicable: &[],
    },
    not(
        "perf",
        "GPL-2.0-only",
        "it unwinds a whole perf.data and nothing point by point: a process for each point takes hours; `export --format perf` writes its input",
    ),
    not(
        "minidump-stackwalk",
        "MIT",
        "needs symbol files of Breakpad's, which nothing here writes; `export --format minidump` writes its other input",
    ),
    not("libunwindstack", "Apache-2.0", "Android's; no package of Debian has its headers"),
    not("OpenTelemetry's eBPF profiler", "Apache-2.0", "it walks inside of a kernel, and is in no registry"),
];

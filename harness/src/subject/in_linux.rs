//! Who asks a subject for a trace, and from where: the pairs of subject and start that Linux has, with their callers. What no
//! caller asks is a question about the algorithm, and reports keep the two apart.
//!
//! Callers and files are those of Linux v7.3. For a proposal or a design they are the callers that it would have, because none
//! of them changes who calls.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Start;

/// Whether Linux asks for a trace from a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InLinux {
    /// It does: who, as functions and files.
    Callable(&'static str),
    /// Nobody does: why not.
    Hypothetical(&'static str),
}

impl InLinux {
    /// Whether somebody asks.
    #[must_use]
    pub const fn is_callable(self) -> bool {
        matches!(self, Self::Callable(_))
    }
}

/// Where a subject comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Status {
    /// It is in Linux v7.3.
    Mainline,
    /// A patch or a review proposes it.
    Proposal {
        /// The Message-ID of the mail (docs/threads.md).
        mail: Cow<'static, str>,
    },
    /// This project's own.
    Design,
    /// Common practice of debuggers and profilers, or a format by its own rules; no kernel's.
    Generic,
}

impl Status {
    /// One word for tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Proposal { .. } => "proposal",
            Self::Design => "design",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposal { mail } => write!(formatter, "proposal `{mail}`"),
            other => formatter.write_str(other.name()),
        }
    }
}

/// The guests for which a statement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guests {
    /// Programs without a kernel.
    Programs,
    /// Kernels with tasks.
    Kernels,
    /// Both.
    All,
}

impl Guests {
    const fn has(self, is_kernel: bool) -> bool {
        match self {
            Self::Programs => !is_kernel,
            Self::Kernels => is_kernel,
            Self::All => true,
        }
    }
}

/// What Linux does with some subjects from some starts.
struct Statement {
    subjects: &'static [&'static str],
    /// The CPUs for which it holds; empty: all.
    cpus: &'static [&'static str],
    guests: Guests,
    starts: &'static [Start],
    in_linux: InLinux,
}

/// The reliable walks of kernels.
const RELIABLE: &[&str] = &[
    "arm64-kunwind",
    "arm64-sframe",
    "arm64-sframe-v5",
    "arm64-sframe-v6",
    "arm64-sframe-refuse",
    "arm64-sframe-detect",
    "arm64-sframe-record",
    "arm64-sframe-pending",
    "riscv-metadata",
    "riscv-metadata-refuse",
    "riscv-metadata-detect",
    "riscv-metadata-record",
    "riscv-metadata-pending",
    "x86-unwind-frame",
    "x86-unwind-frame-detect",
    "x86-orc",
    "x86-orc-detect",
    "linux",
    "linux:task",
];

// `linux:best-effort` is arch_stack_walk of a kernel image: its callers are those of the image's CPU.
const ARM64_BEST_EFFORT: &[&str] = &["arm64-kunwind:best-effort", "arm64-sframe:best-effort", "linux:best-effort"];

const RISCV_BEST_EFFORT: &[&str] = &[
    "riscv-walk-stackframe",
    "riscv-metadata:best-effort",
    "riscv-metadata-detect:best-effort",
    "riscv-metadata-record:best-effort",
    "riscv-metadata-pending:best-effort",
    "linux:best-effort",
];

const X86_BEST_EFFORT: &[&str] = &["x86-unwind-frame:best-effort", "x86-orc:best-effort", "linux:best-effort"];

/// Debuggers and profilers of user space, and the formats by their own rules.
const BY_HAND: &[&str] = &["frame-record", "sframe", "dwarf"];

/// The deferred walks of user stacks.
const USER: &[&str] = &["unwind-user", "unwind-user-fp"];

/// arch_stack_walk_reliable takes no registers. Its one caller, stack_trace_save_tsk_reliable, has one caller in turn,
/// klp_check_stack. That looks at tasks that do not run (klp_try_complete_transition), and at the current one in __schedule,
/// right before it is switched out (__klp_sched_try_switch): the same stack as from the saved context, below younger frames
/// that are not in question.
const LIVEPATCH: InLinux = InLinux::Callable(
    "livepatch: klp_check_stack (kernel/livepatch/transition.c) -> stack_trace_save_tsk_reliable (kernel/stacktrace.c), of a \
     task that does not run, or of the current one in __schedule",
);

const NO_REGISTERS: InLinux = InLinux::Hypothetical(
    "arch_stack_walk_reliable takes no registers, and its only user, livepatch, walks tasks that do not run, or the current \
     one in __schedule",
);

const NO_HANDLER: InLinux = InLinux::Hypothetical(
    "livepatch, the only user of reliable walks, never asks in an exception's handler: it walks tasks that do not run, or the \
     current one in __schedule",
);

const IDEAL_NMI: InLinux = InLinux::Hypothetical(
    "a walk of a kernel starts in its own code or from pt_regs: an interruption that writes nothing stands for every NMI",
);

#[rustfmt::skip]
static STATEMENTS: &[Statement] = &[
    Statement { subjects: RELIABLE, cpus: &[], guests: Guests::Kernels, starts: &[Start::Task], in_linux: LIVEPATCH },
    Statement { subjects: RELIABLE, cpus: &[], guests: Guests::Kernels, starts: &[Start::Current], in_linux: NO_HANDLER },
    Statement { subjects: RELIABLE, cpus: &[], guests: Guests::Kernels, starts: &[Start::Regs], in_linux: NO_REGISTERS },
    Statement { subjects: RELIABLE, cpus: &[], guests: Guests::Kernels, starts: &[Start::Live], in_linux: IDEAL_NMI },
    Statement { subjects: ARM64_BEST_EFFORT, cpus: &["arm64"], guests: Guests::Kernels, starts: &[Start::Regs], in_linux: InLinux::Callable(
        "perf_callchain_kernel (arch/arm64/kernel/perf_callchain.c), an oops or sysrq by show_regs -> dump_backtrace \
         (arch/arm64/kernel/process.c, stacktrace.c)") },
    Statement { subjects: ARM64_BEST_EFFORT, cpus: &["arm64"], guests: Guests::Kernels, starts: &[Start::Current], in_linux: InLinux::Callable(
        "dump_stack -> show_stack -> dump_backtrace (arch/arm64/kernel/stacktrace.c), stack_trace_save (kernel/stacktrace.c)") },
    Statement { subjects: ARM64_BEST_EFFORT, cpus: &["arm64"], guests: Guests::Kernels, starts: &[Start::Task], in_linux: InLinux::Callable(
        "sysrq: sched_show_task (kernel/sched/core.c) -> show_stack; stack_trace_save_tsk (kernel/stacktrace.c); \
         __get_wchan (arch/arm64/kernel/process.c)") },
    Statement { subjects: ARM64_BEST_EFFORT, cpus: &["arm64"], guests: Guests::Kernels, starts: &[Start::Live], in_linux: IDEAL_NMI },
    Statement { subjects: RISCV_BEST_EFFORT, cpus: &["riscv64"], guests: Guests::Kernels, starts: &[Start::Regs], in_linux: InLinux::Callable(
        "perf_callchain_kernel (arch/riscv/kernel/perf_callchain.c), an oops or sysrq by show_regs -> dump_backtrace \
         (arch/riscv/kernel/process.c, stacktrace.c)") },
    Statement { subjects: RISCV_BEST_EFFORT, cpus: &["riscv64"], guests: Guests::Kernels, starts: &[Start::Current], in_linux: InLinux::Callable(
        "dump_stack -> show_stack -> dump_backtrace, and arch_stack_walk for stack_trace_save (arch/riscv/kernel/stacktrace.c)") },
    Statement { subjects: RISCV_BEST_EFFORT, cpus: &["riscv64"], guests: Guests::Kernels, starts: &[Start::Task], in_linux: InLinux::Callable(
        "sysrq: sched_show_task (kernel/sched/core.c) -> show_stack; stack_trace_save_tsk (kernel/stacktrace.c); \
         __get_wchan (arch/riscv/kernel/stacktrace.c)") },
    Statement { subjects: RISCV_BEST_EFFORT, cpus: &["riscv64"], guests: Guests::Kernels, starts: &[Start::Live], in_linux: IDEAL_NMI },
    Statement { subjects: X86_BEST_EFFORT, cpus: &["x86_64"], guests: Guests::Kernels, starts: &[Start::Regs], in_linux: InLinux::Callable(
        "perf_callchain_kernel (arch/x86/events/core.c), an oops or sysrq by show_regs -> show_trace_log_lvl \
         (arch/x86/kernel/dumpstack.c)") },
    Statement { subjects: X86_BEST_EFFORT, cpus: &["x86_64"], guests: Guests::Kernels, starts: &[Start::Current], in_linux: InLinux::Callable(
        "dump_stack -> show_stack -> show_trace_log_lvl (arch/x86/kernel/dumpstack.c), arch_stack_walk for stack_trace_save \
         (arch/x86/kernel/stacktrace.c)") },
    Statement { subjects: X86_BEST_EFFORT, cpus: &["x86_64"], guests: Guests::Kernels, starts: &[Start::Task], in_linux: InLinux::Callable(
        "sysrq: sched_show_task (kernel/sched/core.c) -> show_stack; stack_trace_save_tsk (kernel/stacktrace.c); \
         __get_wchan (arch/x86/kernel/process.c)") },
    Statement { subjects: X86_BEST_EFFORT, cpus: &["x86_64"], guests: Guests::Kernels, starts: &[Start::Live], in_linux: IDEAL_NMI },
    Statement { subjects: USER, cpus: &["x86_64"], guests: Guests::All, starts: &[Start::Live, Start::User], in_linux: InLinux::Callable(
        "unwind_user_faultable (kernel/unwind/deferred.c), before the return to user mode, for perf and ftrace") },
    Statement { subjects: USER, cpus: &["arm64", "riscv64"], guests: Guests::All, starts: &[Start::Live, Start::User], in_linux: InLinux::Hypothetical(
        "v7.3 has asm/unwind_user.h for x86-64 alone, and so has the series of thread S3") },
    Statement { subjects: &["frame-record"], cpus: &[], guests: Guests::Programs, starts: &[Start::Live], in_linux: InLinux::Callable(
        "perf_callchain_user (arch/*/kernel/perf_callchain.c, arch/x86/events/core.c), and debuggers that stop a thread") },
    Statement { subjects: &["dwarf"], cpus: &[], guests: Guests::Programs, starts: &[Start::Live], in_linux: InLinux::Callable(
        "no kernel: debuggers that stop a thread, and perf record --call-graph dwarf (tools/perf/util/unwind-libdw.c)") },
    Statement { subjects: &["sframe"], cpus: &[], guests: Guests::Programs, starts: &[Start::Live], in_linux: InLinux::Hypothetical(
        "the format by its own rules; Linux would read it in unwind_user and in arm64's reliable walk, which have subjects of \
         their own") },
    Statement { subjects: BY_HAND, cpus: &[], guests: Guests::Kernels, starts: &[Start::Live], in_linux: IDEAL_NMI },
    Statement { subjects: BY_HAND, cpus: &[], guests: Guests::Kernels, starts: &[Start::Current, Start::Regs, Start::Task], in_linux: InLinux::Hypothetical(
        "no kernel follows bare frame records or a format by its own rules: it shows what the data alone can tell") },
];

/// What Linux does with a subject from a start, in a kernel or in a program. `None` for subjects that are not this project's;
/// the tests require a statement for each of its own.
#[must_use]
pub fn in_linux(cpu: &str, subject: &str, start: Start, is_kernel: bool) -> Option<InLinux> {
    statements(cpu, subject, start, is_kernel).next()
}

/// How many statements there are about a subject from a start: 1, or the table has a mistake.
#[must_use]
pub fn count(cpu: &str, subject: &str, start: Start, is_kernel: bool) -> usize {
    statements(cpu, subject, start, is_kernel).count()
}

fn statements<'a>(
    cpu: &'a str,
    subject: &'a str,
    start: Start,
    is_kernel: bool,
) -> impl Iterator<Item = InLinux> + use<'a> {
    let holds = move |it: &&Statement| {
        it.subjects.contains(&subject)
            && (it.cpus.is_empty() || it.cpus.contains(&cpu))
            && it.guests.has(is_kernel)
            && it.starts.contains(&start)
    };
    STATEMENTS.iter().filter(holds).map(|it| it.in_linux)
}

/// The names in statements, for the test that each is a subject's.
pub fn names() -> impl Iterator<Item = &'static str> {
    STATEMENTS.iter().flat_map(|statement| statement.subjects).copied()
}

const fn proposal(mail: &'static str) -> Status {
    Status::Proposal { mail: Cow::Borrowed(mail) }
}

/// Where each subject comes from; the mails are those of docs/threads.md. The arm64 series changes the step that both forms of
/// the walk share, and so does riscv's.
static STATUSES: &[(&str, Status)] = &[
    ("frame-record", Status::Generic),
    ("sframe", Status::Generic),
    ("dwarf", Status::Generic),
    ("arm64-kunwind", Status::Mainline),
    ("arm64-kunwind:best-effort", Status::Mainline),
    ("arm64-sframe", proposal("afTYzAF_x41pyilu@J2N7QTR9R3")),
    ("arm64-sframe:best-effort", proposal("afTYzAF_x41pyilu@J2N7QTR9R3")),
    ("arm64-sframe-v5", proposal("20260428183643.3796063-9-dylanbhatch@google.com")),
    ("arm64-sframe-v6", proposal("20260519064950.493949-10-dylanbhatch@google.com")),
    ("arm64-sframe-refuse", Status::Design),
    ("arm64-sframe-detect", Status::Design),
    ("arm64-sframe-record", Status::Design),
    ("arm64-sframe-pending", Status::Design),
    ("riscv-walk-stackframe", Status::Mainline),
    ("riscv-metadata", proposal("20260527123530.2593918-1-wanghan@linux.alibaba.com")),
    ("riscv-metadata:best-effort", proposal("20260527123530.2593918-1-wanghan@linux.alibaba.com")),
    ("riscv-metadata-refuse", Status::Design),
    ("riscv-metadata-detect", Status::Design),
    ("riscv-metadata-detect:best-effort", Status::Design),
    ("riscv-metadata-record", Status::Design),
    ("riscv-metadata-record:best-effort", Status::Design),
    ("riscv-metadata-pending", Status::Design),
    ("riscv-metadata-pending:best-effort", Status::Design),
    ("x86-unwind-frame", Status::Mainline),
    ("x86-unwind-frame:best-effort", Status::Mainline),
    ("x86-orc", Status::Mainline),
    ("x86-orc:best-effort", Status::Mainline),
    ("x86-unwind-frame-detect", Status::Design),
    ("x86-orc-detect", Status::Design),
    ("linux", Status::Mainline),
    ("linux:best-effort", Status::Mainline),
    ("linux:task", Status::Mainline),
];

/// The walks of user stacks, which are x86-64's. What other CPUs have here are this project's ports.
static X86_USER: &[(&str, Status)] =
    &[("unwind-user", proposal("20260520154004.3845823-1-jremus@linux.ibm.com")), ("unwind-user-fp", Status::Mainline)];

/// Where a subject comes from, if the table knows it.
#[must_use]
pub fn status(cpu: &str, subject: &str) -> Option<Status> {
    let is_it = |(name, _): &&(&str, Status)| *name == subject;
    if USER.contains(&subject) && cpu != "x86_64" {
        return Some(Status::Design);
    }
    STATUSES.iter().chain(X86_USER).find(is_it).map(|(_, status)| status.clone())
}

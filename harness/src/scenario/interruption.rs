//! The kinds of interruption.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cpu::Exception;

/// How points are interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interruption {
    /// The walk starts from the live registers; nothing is disturbed.
    Probe,
    /// A maskable interrupt is taken at the point; the walks start in its handler.
    Irq,
    /// An interrupt that the usual mask does not stop.
    Nmi,
    /// A synchronous fault of the instruction.
    Fault,
    /// arm64: an SError (asynchronous system error), from which the handler returns.
    Serror,
    /// arm64: an SDEI event, which the firmware delivers to the kernel whatever is masked.
    Sdei,
    /// A breakpoint on the instruction.
    Debug,
    /// A second exception at every instruction of an interrupt's entry, handler and exit.
    Nested,
    /// As `preempt`, but each frame record is damaged in several ways, on a copy of the stack.
    Corrupt,
    /// An interrupt whose exit path schedules another task; the walk is of the task that is switched out.
    Preempt,
    /// The guest's own call of `schedule`; the walk is of the task that is switched out.
    Voluntary,
}

impl Interruption {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Probe,
        Self::Irq,
        Self::Nmi,
        Self::Fault,
        Self::Serror,
        Self::Sdei,
        Self::Debug,
        Self::Nested,
        Self::Corrupt,
        Self::Preempt,
        Self::Voluntary,
    ];

    /// Whether parts of a run are the same as in the whole one. Not where an exception is delivered: it leaves words on the stack, which
    /// later points of the same run see.
    #[must_use]
    pub const fn is_split(self) -> bool {
        matches!(self, Self::Probe)
    }

    /// The name in scenarios and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Irq => "irq",
            Self::Nmi => "nmi",
            Self::Fault => "fault",
            Self::Serror => "serror",
            Self::Sdei => "sdei",
            Self::Debug => "debug",
            Self::Nested => "nested",
            Self::Corrupt => "corrupt",
            Self::Preempt => "preempt",
            Self::Voluntary => "voluntary",
        }
    }

    /// The exception that is delivered at the points, if any.
    #[must_use]
    pub const fn exception(self) -> Option<Exception> {
        Some(match self {
            Self::Probe | Self::Voluntary => return None,
            Self::Irq | Self::Preempt | Self::Corrupt | Self::Nested => Exception::Irq,
            Self::Nmi => Exception::Nmi,
            Self::Fault => Exception::Fault,
            Self::Serror => Exception::SError,
            Self::Sdei => Exception::Sdei,
            Self::Debug => Exception::Debug,
        })
    }

    /// Whether the interrupt's exit path schedules another task.
    #[must_use]
    pub const fn preempts(self) -> bool {
        matches!(self, Self::Preempt | Self::Corrupt)
    }

    /// Whether the walks are of a task that is switched out, and not of the running one.
    #[must_use]
    pub const fn walks_task(self) -> bool {
        self.preempts() || matches!(self, Self::Voluntary)
    }

    /// Whether walks of the user stack can be requested at the points, to be made on the way back to user mode.
    #[must_use]
    pub const fn walks_user(self) -> bool {
        !self.walks_task() && !matches!(self, Self::Probe | Self::Nested)
    }
}

//! Why a run ended before its sentinel, in words.

use unicorn_engine::{Prot, Unicorn};

use super::{Context, Machine, Stop, answers};

impl Machine<'_> {
    /// Why this run ended.
    pub(super) fn reason(&self, engine: &Unicorn<'_, Context<'_>>, stop: Stop) -> String {
        match stop {
            Stop::Observer => "the observer stopped it".to_owned(),
            Stop::Budget => format!("no end within the budget of {} instructions", self.budget),
            Stop::Access { kind, page } => format!("{kind} in {}", self.describe(page)),
            Stop::Undefined if self.is_program() => {
                "an instruction that the emulator does not have, or that does not exist,".to_owned()
            }
            Stop::Undefined => "undefined instruction".to_owned(),
            Stop::Undeliverable { exception, reason } => {
                format!("{} cannot be delivered: {reason}", exception.name())
            }
            Stop::Firmware(reason) | Stop::Refused(reason) => reason,
            Stop::Missing(page) => format!("not in this case: page {page:#x}"),
            Stop::Halted => "it waits forever for an interrupt".to_owned(),
            Stop::SystemCall { .. } => answers::lacks(engine),
            stop @ (Stop::Turn | Stop::Signal(_)) => format!("{stop:?}"), // a process has them
            Stop::Exception(number) => {
                format!("unhandled exception {number} ({})", self.core.exception_name(number))
            }
        }
    }

    /// Whether it is a program without a kernel of its own.
    pub(super) fn is_program(&self) -> bool {
        self.program.start.as_ref().is_some_and(|start| start.thread.is_some())
    }

    /// Describes a page by what is mapped there.
    fn describe(&self, page: u64) -> String {
        if let Some((_, name)) = self.program.conventions.missing.iter().find(|(address, _)| *address == page) {
            return format!("`{name}`, which no loaded file defines (name its library with --lib)");
        }
        match self.memory.region(page) {
            _ if self.memory.is_guard(page) => format!("page {page:#x} between stacks"),
            None => format!("unmapped page {page:#x}"),
            Some(region) if region.permission_at(page) & Prot::EXEC != Prot::NONE => format!("page {page:#x} of code"),
            Some(region) if region.permission_at(page) & Prot::WRITE != Prot::NONE => format!("page {page:#x} of data"),
            Some(_) => format!("page {page:#x} of constants"),
        }
    }
}

//! What a run calls: a function of the kernel, with arguments.

use std::str::FromStr;

use serde::Deserialize;

use super::OfCpu;
use super::edit::Edit;
use super::entry::{EntryState, Place};
use crate::Error;
use crate::guest::literal::{self, Literal};

/// A call of a kernel's function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// The function.
    pub call: String,
    /// Its arguments: as many as fit in registers, and on x86-64 some more on the stack.
    pub arguments: Vec<Argument>,
    /// The functions whose calls the function graph tracer traces; empty: it is switched off.
    pub trace: Vec<String>,
    /// Whether the tracer's callbacks ask to reschedule, as a timer's interrupt there would: the task is then switched out where the
    /// tracer enables preemption.
    pub preempts_tracer: bool,
    /// A state of one's own.
    pub entry: EntryState,
    /// The capabilities of the CPU whose alternatives are applied (`OfCpu::capabilities`); empty: they are as linked.
    pub alternatives: Vec<String>,
    /// Whether the kernel's own `__schedule` chooses and switches to the other task, and not a function of ours in its place.
    pub real_scheduler: bool,
}

/// An argument, as it is written in scenarios and on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Argument {
    /// A number, or the address of something that is written down.
    Plain(Literal),
    /// A place in the kernel: `sym:NAME`, `sym:NAME+0x10`.
    Symbol(Place),
    /// The address of a function of ours that compares two 32-bit numbers: `fn:compare-u32`.
    CompareU32,
    /// The address of an array of one `struct kernel_param`, for a number of this name: `param:NAME`.
    Parameter(String),
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(literal) = Literal::parse(text)? {
            return Ok(Self::Plain(literal));
        }
        match text.split_once(':').unwrap_or_default() {
            ("sym", rest) => rest.parse().map(Self::Symbol),
            ("param", rest) => Ok(Self::Parameter(rest.to_owned())),
            ("fn", "compare-u32") => Ok(Self::CompareU32),
            _ => {
                Err(format!("argument {text:?}: there are {}, sym:NAME, param:NAME and fn:compare-u32", literal::FORMS))
            }
        }
    }
}

impl TryFrom<toml::Value> for Argument {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Integer(number) => Ok(Self::Plain(Literal::Number(number.cast_unsigned()))),
            toml::Value::String(text) => text.parse(),
            other => Err(format!("{other} is no argument: that is a number or a text")),
        }
    }
}

impl Workload {
    /// The values of the arguments; what they point to is placed in memory.
    pub(super) fn place(&self, edit: &mut Edit<'_>, of_cpu: &dyn OfCpu) -> Result<Vec<u64>, Error> {
        let (registers, stack) = (edit.image().cpu.arguments.len(), of_cpu.stack_arguments());
        if self.arguments.len() > registers + stack {
            return Err(edit.refuse(format!(
                "{} is called with {} arguments, but {registers} fit in registers, and {stack} on the stack",
                self.call,
                self.arguments.len()
            )));
        }
        self.arguments.iter().map(|argument| argument.place(edit, of_cpu)).collect()
    }
}

impl Argument {
    pub(super) fn place(&self, edit: &mut Edit<'_>, of_cpu: &dyn OfCpu) -> Result<u64, Error> {
        match self {
            Self::Plain(Literal::Number(value)) => Ok(*value),
            Self::Plain(Literal::Buffer(size)) => edit.allocate(*size, 64),
            Self::Plain(literal) => edit.place(&literal.pointed_to().unwrap_or_default(), 8),
            Self::Symbol(place) => place.resolve(edit),
            Self::CompareU32 => edit.code("harness_compare_u32", &of_cpu.compares()),
            Self::Parameter(name) => {
                // include/linux/moduleparam.h: a number in memory of ours, at level 0.
                let (name, number) = (edit.place(&[name.as_bytes(), b"\0"].concat(), 8)?, edit.allocate(8, 8)?);
                let parameter = edit.allocate(edit.size("kernel_param")?, 8)?;
                let ops = edit.address("param_ops_int")?;
                for (member, value) in [("name", name), ("ops", ops), ("arg", number)] {
                    edit.set_u64(parameter + edit.offset("kernel_param", member)?, value)?;
                }
                Ok(parameter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Argument, Literal};

    #[test]
    fn arguments_are_read_or_refused() {
        let good = [
            ("42", Argument::Plain(Literal::Number(42))),
            ("sym:sort+0x4", Argument::Symbol(super::Place::Symbol("sort".to_owned(), 4))),
        ];
        for (text, argument) in good {
            assert_eq!(text.parse(), Ok(argument), "{text}");
        }
        for text in ["", "x", "buf:-1", "fn:other", "what:1"] {
            assert!(text.parse::<Argument>().is_err(), "{text}");
        }
    }
}

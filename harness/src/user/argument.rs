//! The arguments of a call, as they are written in scenarios and on the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::module::Module;
use super::{link, ours};
use crate::guest::literal::{self, Literal, MAX_BUFFER};
use crate::guest::{PAGE, Segment};
use crate::{Error, file};

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Argument {
    /// A number, or the address of something that is written down.
    Plain(Literal),
    /// A floating-point number, as its register holds it: `f64:1.5`, `f32:1.5`.
    Float(u64),
    /// The address of what is in a file: `file:PATH`.
    File(PathBuf),
    /// The address of a function of ours: `fn:compare-int`.
    Function(String),
    /// The address of a symbol: `sym:NAME`.
    Symbol(String),
}

/// The upper half of a register that holds a number of 32 bits (RISC-V unprivileged ISA, NaN boxing). The other CPUs ignore it.
const BOX: u64 = 0xffff_ffff;

fn boxed(value: f32) -> u64 {
    BOX << 32 | u64::from(value.to_bits())
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(literal) = Literal::parse(text)? {
            return Ok(Self::Plain(literal));
        }
        let (kind, rest) = text.split_once(':').unwrap_or_default();
        let malformed = || literal::malformed(text);
        match kind {
            "f64" => rest.parse().map(|value: f64| Self::Float(value.to_bits())).map_err(|_| malformed()),
            "f32" => rest.parse().map(|value: f32| Self::Float(boxed(value))).map_err(|_| malformed()),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "fn" => Ok(Self::Function(rest.to_owned())),
            "sym" => Ok(Self::Symbol(rest.to_owned())),
            _ => Err(format!(
                "argument {text:?}: there are {}, f64:NUMBER, f32:NUMBER, file:PATH, fn:NAME and sym:NAME",
                literal::FORMS
            )),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(literal) => literal.fmt(formatter),
            Self::Float(bits) if bits >> 32 == BOX => write!(formatter, "f32:{}", f32::from_bits(*bits as u32)),
            Self::Float(bits) => write!(formatter, "f64:{}", f64::from_bits(*bits)),
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Function(name) => write!(formatter, "fn:{name}"),
            Self::Symbol(name) => write!(formatter, "sym:{name}"),
        }
    }
}

impl TryFrom<String> for Argument {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where the bytes that an argument points to are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// The number of the argument, from 1.
    pub argument: usize,
    /// The first address.
    pub address: u64,
    /// What is there before the call.
    pub before: Vec<u8>,
}

/// The arguments in memory.
pub(super) struct Placed {
    /// Those that are passed as integers are, in order.
    pub(super) values: Vec<u64>,
    /// Those that are passed in registers for floating point, in order.
    pub(super) floats: Vec<u64>,
    pub(super) buffers: Vec<Buffer>,
    /// IFUNCs that are passed by stubs of ours: their names, and their addresses.
    pub(super) stubs: Vec<(String, u64)>,
}

/// How many registers there are for floating-point arguments: x86-64 psABI 3.2.3, AAPCS64 6.4.2, RISC-V calling convention.
const FLOAT_ARGUMENTS: usize = 8;

/// How many bytes before the arguments are ours: the word that is called, and room for what resolvers are given.
const HEAD: u64 = PAGE;
/// Bytes between what arguments point to, so that a store beyond the end of one is not within the next.
const GAP: u64 = 64;

/// Places what the arguments point to.
pub(super) fn place(arguments: &[Argument], base: &Path, modules: &[Module]) -> Result<(Placed, Segment), Error> {
    let mut placed = Placed { values: Vec::new(), floats: Vec::new(), buffers: Vec::new(), stubs: Vec::new() };
    let mut data = vec![0; HEAD as usize];
    for (index, argument) in arguments.iter().enumerate() {
        let refuse = |reason: String| Error::Usage(format!("argument {}: {reason}", index + 1));
        let bytes = match argument {
            Argument::Plain(Literal::Number(value)) => {
                placed.values.push(*value);
                continue;
            }
            Argument::Plain(literal) => literal.pointed_to().unwrap_or_default(),
            Argument::Function(name) => {
                let there = || refuse(format!("there is no fn:{name}; there are {}", ours::callbacks()));
                placed.values.push(ours::callback(name).ok_or_else(there)?);
                continue;
            }
            Argument::Symbol(name) => {
                let found = link::find(modules, name);
                let (address, is_indirect) = found.ok_or_else(|| refuse(format!("no file defines {name}")))?;
                // What an IFUNC stands for is known only when it has run.
                let (stub, _) = ours::stub(placed.stubs.len());
                if is_indirect && placed.stubs.len() == ours::MAX_STUBS {
                    return Err(refuse(format!("more than {} of them are IFUNCs", ours::MAX_STUBS)));
                }
                placed.values.push(if is_indirect { stub } else { address });
                placed.stubs.extend(is_indirect.then(|| (name.clone(), address)));
                continue;
            }
            Argument::Float(bits) => {
                placed.floats.push(*bits);
                continue;
            }
            Argument::File(path) => file::read(&base.join(path), MAX_BUFFER)?,
        };
        let address = ours::DATA + data.len() as u64;
        data.extend(&bytes);
        data.resize((data.len() as u64 + GAP).next_multiple_of(GAP) as usize, 0);
        placed.values.push(address);
        placed.buffers.push(Buffer { argument: index + 1, address, before: bytes });
    }
    if placed.floats.len() > FLOAT_ARGUMENTS {
        return Err(Error::Usage(format!("there are registers for {FLOAT_ARGUMENTS} floating-point arguments only")));
    }
    data.resize((data.len() as u64).next_multiple_of(PAGE) as usize, 0);
    Ok((placed, Segment { address: ours::DATA, data, executable: false, writable: true }))
}

#[cfg(test)]
mod tests {
    use super::{Argument, Literal};

    #[test]
    fn arguments_are_read_or_refused() {
        let good = [
            ("42", Argument::Plain(Literal::Number(42))),
            ("f64:1.5", Argument::Float(0x3ff8_0000_0000_0000)),
            ("f64:-inf", Argument::Float(0xfff0_0000_0000_0000)),
            ("f32:1.5", Argument::Float(0xffff_ffff_3fc0_0000)),
            ("sym:sort", Argument::Symbol("sort".to_owned())),
            ("fn:compare-int", Argument::Function("compare-int".to_owned())),
        ];
        for (text, argument) in good {
            assert_eq!(text.parse(), Ok(argument.clone()), "{text}");
            assert_eq!(argument.to_string().parse(), Ok(argument), "{text}");
        }
        for text in ["", "x", "f64:", "f32:x", "buf:-1", "what:1"] {
            assert!(text.parse::<Argument>().is_err(), "{text}");
        }
    }
}

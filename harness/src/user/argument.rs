//! The arguments of a call, as they are written in scenarios and on the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::module::Module;
use super::{link, ours};
use crate::guest::literal::{self, number};
use crate::guest::{PAGE, Segment};
use crate::{Error, file};

/// How large a buffer or a file may be, in bytes.
const MAX_BUFFER: u64 = 1 << 24;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Argument {
    /// A number: `42`, `-1`, `0x2a`.
    Number(u64),
    /// A floating-point number, as its register holds it: `f64:1.5`, `f32:1.5`.
    Float(u64),
    /// The address of a text, which ends with a NUL: `str:TEXT`.
    Text(String),
    /// The address of so many zeroed bytes: `buf:N`.
    Buffer(u64),
    /// The address of these bytes: `hex:00ff..`.
    Bytes(Vec<u8>),
    /// The address of 32-bit numbers: `u32:3,1,2`.
    Words(Vec<u32>),
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
        let Some((kind, rest)) = text.split_once(':') else {
            return number(text).map(Self::Number).ok_or_else(|| format!("argument {text:?} is no number"));
        };
        let malformed = || format!("argument {text:?} is malformed");
        match kind {
            "f64" => rest.parse().map(|value: f64| Self::Float(value.to_bits())).map_err(|_| malformed()),
            "f32" => rest.parse().map(|value: f32| Self::Float(boxed(value))).map_err(|_| malformed()),
            "str" => Ok(Self::Text(rest.to_owned())),
            "buf" => number(rest).filter(|size| *size <= MAX_BUFFER).map(Self::Buffer).ok_or_else(malformed),
            "hex" => literal::bytes(rest).map(Self::Bytes).ok_or_else(malformed),
            "u32" => rest
                .split(',')
                .map(|word| Some(number(word.trim())?.cast_signed()))
                // Signed and unsigned numbers of 32 bits.
                .map(|word| word.filter(|it| i32::try_from(*it).is_ok() || u32::try_from(*it).is_ok()))
                .map(|word| word.map(|word| word as u32))
                .collect::<Option<_>>()
                .map(Self::Words)
                .ok_or_else(malformed),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "fn" => Ok(Self::Function(rest.to_owned())),
            "sym" => Ok(Self::Symbol(rest.to_owned())),
            _ => Err(format!(
                "argument {text:?}: there are numbers, f64:NUMBER, f32:NUMBER, str:TEXT, buf:N, hex:BYTES, u32:A,B,.., file:PATH, fn:NAME and sym:NAME"
            )),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) if *value > u64::MAX / 2 => write!(formatter, "{}", value.cast_signed()),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Float(bits) if bits >> 32 == BOX => write!(formatter, "f32:{}", f32::from_bits(*bits as u32)),
            Self::Float(bits) => write!(formatter, "f64:{}", f64::from_bits(*bits)),
            Self::Text(text) => write!(formatter, "str:{text}"),
            Self::Buffer(size) => write!(formatter, "buf:{size}"),
            Self::Bytes(bytes) => {
                formatter.write_str("hex:")?;
                bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
            Self::Words(words) => {
                let words: Vec<String> = words.iter().map(ToString::to_string).collect();
                write!(formatter, "u32:{}", words.join(","))
            }
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
            Argument::Number(value) => {
                placed.values.push(*value);
                continue;
            }
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
            Argument::Text(text) => [text.as_bytes(), b"\0"].concat(),
            Argument::Buffer(size) => vec![0; *size as usize],
            Argument::Bytes(bytes) => bytes.clone(),
            Argument::Words(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
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
    use super::Argument;

    #[test]
    fn arguments_are_read_or_refused() {
        let good = [
            ("42", Argument::Number(42)),
            ("-1", Argument::Number(u64::MAX)),
            ("0x10", Argument::Number(16)),
            ("f64:1.5", Argument::Float(0x3ff8_0000_0000_0000)),
            ("f64:-inf", Argument::Float(0xfff0_0000_0000_0000)),
            ("f32:1.5", Argument::Float(0xffff_ffff_3fc0_0000)),
            ("str:a:b", Argument::Text("a:b".to_owned())),
            ("buf:8", Argument::Buffer(8)),
            ("hex:00ff", Argument::Bytes(vec![0, 255])),
            ("u32:1, -2", Argument::Words(vec![1, u32::MAX - 1])),
            ("sym:sort", Argument::Symbol("sort".to_owned())),
            ("fn:compare-int", Argument::Function("compare-int".to_owned())),
        ];
        for (text, argument) in good {
            assert_eq!(text.parse(), Ok(argument.clone()), "{text}");
            assert_eq!(argument.to_string().parse(), Ok(argument), "{text}");
        }
        for text in [
            "",
            "x",
            "f64:",
            "f32:x",
            "buf:-1",
            "buf:16777217",
            "hex:f",
            "hex:é",
            "u32:1,,2",
            "u32:4294967296",
            "what:1",
        ] {
            assert!(text.parse::<Argument>().is_err(), "{text}");
        }
    }
}

//! A state of one's own: where the run begins and ends, and what is in registers and memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use serde::Deserialize;

use super::edit::Edit;
use super::{Argument, OfCpu, Running, Workload};
use crate::Error;
use crate::cpu::Register;
use crate::guest::literal::{self, Literal, number};

/// What is given of a state; what is not given is as for any call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryState {
    /// Where the run begins, in the place of a call: the instruction there finds the CPU as if it had just been called.
    pub pc: Option<Place>,
    /// Where the run ends, in the place of the return: before this instruction, whoever arrives there.
    pub stop: Option<Place>,
    /// Registers, by the assembler's names: with [`EntryState::pc`] alone.
    pub registers: BTreeMap<String, Argument>,
    /// Memory, written in this order.
    pub memory: Vec<Word>,
}

/// A place: `SYMBOL`, `SYMBOL+0x10` or `0xffff800080000000`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// An address.
    Address(u64),
    /// So many bytes behind a symbol.
    Symbol(String, u64),
}

/// What is written to memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Word {
    /// Where.
    pub at: Place,
    /// Either a value of `size` bytes,
    pub value: Option<Argument>,
    /// which are 1, 2, 4 or 8; left out: 8,
    pub size: Option<u64>,
    /// or these bytes, as hexadecimal digits.
    pub bytes: Option<String>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("place {text:?}: there are SYMBOL, SYMBOL+0x10 and 0xffff800080000000");
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return number(text).map(Self::Address).ok_or_else(malformed);
        }
        let (name, offset) = match text.split_once('+') {
            None => (text, Some(0)),
            Some((name, offset)) => (name, number(offset)),
        };
        match offset {
            Some(offset) if !name.is_empty() => Ok(Self::Symbol(name.to_owned(), offset)),
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address:#x}"),
            Self::Symbol(name, 0) => formatter.write_str(name),
            Self::Symbol(name, offset) => write!(formatter, "{name}+{offset:#x}"),
        }
    }
}

impl Place {
    pub(super) fn resolve(&self, edit: &Edit<'_>) -> Result<u64, Error> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Symbol(name, offset) => edit.address(name).map(|address| address.wrapping_add(*offset)),
        }
    }
}

impl EntryState {
    /// What makes no sense whatever the image is.
    ///
    /// # Errors
    ///
    /// Names the key.
    pub fn check(&self, calls: bool, returns: bool) -> Result<(), String> {
        if calls == self.pc.is_some() {
            return Err(
                "one of the keys call and pc must be there, and not both: it says where the run begins".to_owned()
            );
        }
        if let (true, Some(name)) = (calls, self.registers.keys().next()) {
            return Err(format!("registers.{name}: with call, arguments are given; registers go with pc"));
        }
        if self.stop.is_some() && returns {
            return Err("stop and returns: a run that stops has not returned".to_owned());
        }
        for (index, word) in self.memory.iter().enumerate() {
            word.check().map_err(|reason| format!("memory[{index}]: {reason}"))?;
        }
        Ok(())
    }

    /// Where the run begins, in the text of the image.
    pub(super) fn begins_at(&self, edit: &Edit<'_>, of_cpu: &dyn OfCpu) -> Result<Option<u64>, Error> {
        self.pc.as_ref().map(|pc| code(edit, of_cpu.instruction_align(), "pc", pc)).transpose()
    }

    /// Puts the state that a call would begin with into this one.
    pub(super) fn apply(
        &self,
        edit: &mut Edit<'_>,
        of_cpu: &dyn OfCpu,
        running: &mut Running,
        stack: &Range<u64>,
    ) -> Result<(), Error> {
        if let Some(pc) = self.begins_at(edit, of_cpu)? {
            let given = self.registers(edit, of_cpu, running, stack)?;
            of_cpu.begin_at(edit, running, pc, &given)?;
            running.start.registers.extend(given);
        }
        for (index, word) in self.memory.iter().enumerate() {
            let key = format!("memory[{index}] (at = \"{}\")", word.at);
            let (at, bytes) = word.bytes(edit, of_cpu).map_err(|error| within(edit, &key, &error))?;
            let stacks = running.stacks.iter().map(|stack| stack.bounds.low..stack.bounds.high);
            if !stacks.chain([stack.clone()]).any(|stack| stack.contains(&at)) {
                edit.set(at, &bytes).map_err(|error| within(edit, &key, &error))?;
            } else if at % 8 == 0 && bytes.len() % 8 == 0 {
                let word = |word: &[u8]| word.try_into().map(u64::from_le_bytes).unwrap_or_default();
                running.words.extend((at..).step_by(8).zip(bytes.chunks_exact(8).map(word)));
            } else {
                return Err(edit.refuse(format!("{key}: on a stack, whole aligned words are written")));
            }
        }
        if let Some(stop) = &self.stop {
            running.sentinel = code(edit, of_cpu.instruction_align(), "stop", stop)?;
            // Whatever waits there for a return will not see it.
            running.special.outermost.extend(of_cpu.text(edit.image())?);
        }
        Ok(())
    }

    /// The registers' values. SP goes to where the run's state has it.
    fn registers(
        &self,
        edit: &mut Edit<'_>,
        of_cpu: &dyn OfCpu,
        running: &mut Running,
        stack: &Range<u64>,
    ) -> Result<Vec<(Register, u64)>, Error> {
        let cpu = edit.image().cpu;
        let mut given = Vec::new();
        for (name, value) in &self.registers {
            let number = cpu.abi.register_names.iter().position(|other| other == name);
            let register = number.and_then(|number| u8::try_from(number).ok()).map(Register).ok_or_else(|| {
                let known = cpu.abi.register_names.join(", ");
                edit.refuse(format!("registers.{name}: {} has no such register; there are {known}", cpu.name))
            })?;
            let value =
                value.place(edit, of_cpu).map_err(|error| within(edit, &format!("registers.{name}"), &error))?;
            if cpu.links().first() == Some(&register) {
                return Err(edit.refuse(format!("registers.{name}: the call that the run begins with sets it")));
            }
            if running.start.constant.iter().any(|(constant, _)| *constant == register) {
                return Err(edit.refuse(format!("registers.{name}: it has the same value as long as the task runs")));
            }
            if register != cpu.sp {
                given.push((register, value));
            } else if value % cpu.abi.cfa_align == 0 && (value == stack.end || stack.contains(&value)) {
                running.sp = value;
            } else {
                return Err(edit.refuse(format!(
                    "registers.{name}: {value:#x} is not aligned to {} bytes, or not on the thread's stack, {:#x} to {:#x}",
                    cpu.abi.cfa_align, stack.start, stack.end
                )));
            }
        }
        Ok(given)
    }
}

/// An error, with the key that caused it.
fn within(edit: &Edit<'_>, key: &str, error: &Error) -> Error {
    match error {
        Error::Linux { reason, .. } => edit.refuse(format!("{key}: {reason}")),
        other => edit.refuse(format!("{key}: {other}")),
    }
}

/// The address of an instruction.
fn code(edit: &Edit<'_>, align: u64, key: &str, place: &Place) -> Result<u64, Error> {
    let at = place.resolve(edit).map_err(|error| within(edit, key, &error))?;
    if edit.is_text(at) && at % align == 0 {
        Ok(at)
    } else {
        Err(edit.refuse(format!("{key} = \"{place}\": no instruction of the kernel is at {at:#x}")))
    }
}

impl Word {
    fn check(&self) -> Result<(), String> {
        if self.value.is_some() == self.bytes.is_some() {
            return Err("one of value and bytes says what is written, and not both".to_owned());
        }
        match self.size {
            Some(_) if self.bytes.is_some() => Err("size goes with value".to_owned()),
            Some(size) if ![1, 2, 4, 8].contains(&size) => Err(format!("size = {size}: there are 1, 2, 4 and 8")),
            _ => Ok(()),
        }?;
        match &self.bytes {
            Some(digits) => literal::bytes(digits)
                .map(drop)
                .ok_or_else(|| format!("bytes = {digits:?}: they are pairs of hexadecimal digits")),
            None => Ok(()),
        }
    }

    fn bytes(&self, edit: &mut Edit<'_>, of_cpu: &dyn OfCpu) -> Result<(u64, Vec<u8>), Error> {
        let at = self.at.resolve(edit)?;
        if let Some(digits) = &self.bytes
            && let Some(bytes) = literal::bytes(digits)
        {
            return Ok((at, bytes));
        }
        let value = self.value.clone().unwrap_or(Argument::Plain(Literal::Number(0))).place(edit, of_cpu)?;
        let size = self.size.unwrap_or(8) as usize;
        Ok((at, value.to_le_bytes()[..size].to_vec()))
    }
}

impl Workload {
    /// What the run does first, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.entry.pc.as_ref().map_or_else(|| self.call.clone(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryState, Place};

    #[test]
    fn places_are_read_or_refused() {
        for (text, place) in [
            ("memcpy", Place::Symbol("memcpy".to_owned(), 0)),
            ("memcpy+0x10", Place::Symbol("memcpy".to_owned(), 16)),
            ("0xffff800080000000", Place::Address(0xffff_8000_8000_0000)),
        ] {
            assert_eq!(text.parse(), Ok(place.clone()), "{text}");
            assert_eq!(place.to_string(), text);
        }
        for text in ["", "+0x10", "memcpy+", "memcpy+x", "0x", "12x"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_begins_in_one_way() {
        let state = EntryState { pc: Some(Place::Address(16)), ..EntryState::default() };
        assert!(state.check(true, false).is_err() && EntryState::default().check(false, false).is_err());
        assert!(state.check(false, false).is_ok() && EntryState::default().check(true, true).is_ok());
        let state = EntryState { stop: Some(Place::Address(16)), ..EntryState::default() };
        assert!(state.check(true, true).is_err());
    }
}

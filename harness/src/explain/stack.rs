//! The stack of a point, drawn: where the true return addresses are, and which walk read what.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cpu::Regs;
use crate::guest::Program;
use crate::oracle::{Cause, Truth};
use crate::subject::GuestTarget;

/// How far above the last known word a return address is looked for, in bytes: no frame of a guest is larger.
const FRAME: u64 = 0x4000;
/// How many true return addresses are looked for.
const MOST: usize = 24;

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    /// The registers at the point.
    pub(super) regs: Option<Regs>,
    words: BTreeMap<u64, Word>,
    /// What stands in registers, and what was not found.
    beside: Vec<String>,
}

#[derive(Debug, Default)]
struct Word {
    value: Option<u64>,
    means: Vec<String>,
    readers: Vec<String>,
}

impl Drawing {
    /// Notes a word that a walk read.
    pub(super) fn read(&mut self, reader: &str, address: u64, value: Option<u64>) {
        let word = self.words.entry(address).or_default();
        word.value = value;
        if word.readers.last().is_none_or(|last| last != reader) {
            word.readers.push(reader.to_owned());
        }
    }

    /// Notes where the return addresses of a true trace are.
    pub(super) fn truth(&mut self, program: &Program, truth: &Truth, target: &GuestTarget<'_>) {
        let Some(regs) = self.regs else { return };
        let guest = &program.guest;
        let mut from = regs.get(guest.cpu.sp).unwrap_or_default();
        for (number, activation) in (1..).zip(truth.activations().take(MOST)) {
            let name = format!("{number} {}", activation.place().name(&guest.symbols));
            if program.layout.stack_of(from) != program.layout.stack_of(activation.cfa) {
                from = activation.cfa.saturating_sub(FRAME);
            }
            let is_its =
                |address: &u64| target.memory.read_u64(*address).is_some_and(|value| value == activation.resume);
            let low = from.max(activation.cfa.saturating_sub(FRAME));
            // The words of the frame below the CFA, from the top down: what lies lower may be left over.
            let slots = (low / 8..activation.cfa / 8).rev().map(|word| word * 8);
            let slot = { slots }.filter(|address| program.layout.stack_of(*address).is_some()).find(is_its);
            let is_register = |register: &crate::cpu::Register| regs.get(*register) == Some(activation.resume);
            let held = regs.iter().map(|(register, _)| register).find(is_register);
            if let Some(slot) = slot {
                let word = self.words.entry(slot).or_default();
                word.value = Some(activation.resume);
                word.means.push(format!("return address of {name}"));
            }
            match (activation.cause, slot, held) {
                (Cause::Call, _, Some(register)) if number == 1 || slot.is_none() => {
                    self.beside.push(format!("{}: return address of {name}", guest.cpu.abi.register_name(register)));
                }
                (Cause::Call, None, None) => {
                    self.beside.push(format!("the return address of {name} is in no word of its frame as it is"));
                }
                _ => {}
            }
            self.words.entry(activation.cfa).or_default().means.push(format!("CFA of {name}"));
            from = activation.cfa;
        }
    }

    /// The drawing as text, from the lowest address up; nothing if there is nothing to draw.
    pub(super) fn text(&self, program: &Program) -> String {
        let Some(regs) = self.regs else { return String::new() };
        let layout = &program.layout;
        let sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let on_stack = self.words.iter().filter(|(address, _)| layout.stack_of(**address).is_some());
        let mut text = String::new();
        for (address, word) in on_stack {
            let place = if layout.stack_of(*address) == layout.stack_of(sp) {
                let sign = if *address < sp { '-' } else { '+' };
                format!("sp{sign}{:#x}", address.abs_diff(sp))
            } else {
                layout.place(*address)
            };
            let value = word.value.map_or(String::new(), |value| format!("{value:#018x}"));
            let read =
                if word.readers.is_empty() { String::new() } else { format!("read by {}", word.readers.join(", ")) };
            let line = format!("  {place:<24} {value:<18}  {:<40}  {read}", word.means.join("; "));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for line in &self.beside {
            let _ = writeln!(text, "  {line}");
        }
        if text.is_empty() { text } else { format!("\nstack, from low to high addresses\n{text}") }
    }
}

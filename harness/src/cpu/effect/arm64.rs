//! 64-bit Arm, as capstone prints it.

use super::registers::Registers;
use super::{Decoding, Instruction, number};

pub(in crate::cpu) const DECODING: Decoding = Decoding { role, decode };

fn role(register: &str) -> Option<&'static str> {
    Some(match register {
        "sp" => "sp",
        "x29" => "fp",
        "x30" | "lr" => "ra",
        "xzr" | "wzr" => "0",
        _ => return None,
    })
}

/// System registers whose values are the state of an interrupted program. `current` is in SP_EL0 while the kernel runs
/// (arch/arm64/include/asm/current.h).
fn system(register: &str) -> Option<&'static str> {
    Some(match register {
        "elr_el1" => "elr",
        "spsr_el1" => "spsr",
        "sp_el0" => "current",
        _ => return None,
    })
}

/// Mnemonics whose first operand is not written.
const READ_ONLY: &[&str] = &[
    "cmp", "cmn", "tst", "ccmp", "cbz", "cbnz", "tbz", "tbnz", "b", "bl", "br", "blr", "ret", "nop", "msr", "isb",
    "dsb", "dmb", "prfm", "hint", "svc", "hvc", "smc", "brk", "clrex", "tlbi", "at", "dc", "ic", "sys", "eret",
];

fn decode(registers: &mut Registers, instruction: &mut Instruction<'_>) {
    let Instruction { mnemonic, operands, .. } = *instruction;
    match (mnemonic, operands) {
        ("add" | "sub", [to, from, by, shift @ ..]) => {
            let by_constant = match shift {
                [] => number(by),
                ["lsl #12" | "lsl #0xc"] => number(by).map(|by| by << 12),
                _ => None,
            };
            let sign = if mnemonic == "sub" { -1 } else { 1 };
            match by_constant {
                Some(by) => registers.add(to, from, sign * by),
                None => combine(registers, mnemonic, operands),
            }
        }
        ("mov" | "movz", [to, from]) => match number(from) {
            Some(value) => registers.know(to, &value.to_string()),
            None => registers.copy(to, from),
        },
        ("mrs", [to, from]) => match system(&from.to_lowercase()) {
            Some(name) => registers.know(to, name),
            None => registers.set(to, from, from),
        },
        ("msr", [to, from]) => {
            if let Some(name) = system(&to.to_lowercase()) {
                let (text, key) = registers.value(from);
                registers.does_alike(format!("{name} = {text}"), format!("{name} = {key}"));
            }
        }
        _ if mnemonic.starts_with("st") => access(registers, operands, true),
        _ if mnemonic.starts_with("ld") => access(registers, operands, false),
        _ if READ_ONLY.contains(&mnemonic) || mnemonic.starts_with("b.") => {}
        _ => combine(registers, mnemonic, operands),
    }
}

/// Any other computation: what it yields is not known.
fn combine(registers: &mut Registers, mnemonic: &str, operands: &[&str]) {
    if let [to, from @ ..] = operands {
        registers.compute(to, mnemonic, from);
    }
}

/// A load or a store of one register or a pair, with write-back before or after.
fn access(registers: &mut Registers, operands: &[&str], is_store: bool) {
    let Some(at) = operands.iter().position(|operand| operand.starts_with('[')) else {
        return if is_store {
        } else {
            combine(registers, "literal", operands)
        };
    };
    let is_before = operands[at].ends_with('!');
    let inside = operands[at].trim_start_matches('[').trim_end_matches(['!', ']']);
    let mut parts = inside.split(',').map(str::trim);
    let base = parts.next().unwrap_or_default();
    let offset = match parts.next().map(number) {
        None => 0,
        Some(Some(offset)) => offset,
        // An index register: no record of an unwinder is reached that way.
        Some(None) => {
            return if is_store {
            } else {
                combine(registers, "index", &operands[..at])
            };
        }
    };
    let after = operands.get(at + 1).and_then(|by| number(by));
    if is_before {
        registers.add(base, base, offset);
    }
    let mut offset = if is_before { 0 } else { offset };
    for register in &operands[..at] {
        let place = registers.place(base, offset);
        if is_store {
            registers.store(register, &place)
        } else {
            registers.load(register, &place)
        }
        offset += match register.as_bytes().first() {
            Some(b'w' | b's') => 4,
            Some(b'q' | b'v') => 16,
            _ => 8,
        };
    }
    if let Some(by) = after {
        registers.add(base, base, by);
    }
}

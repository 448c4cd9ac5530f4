//! x86-64, as capstone prints it in AT&T syntax. The return address is on the stack, so every store to the stack and every load
//! from it counts, with the register's name: pt_regs and frames are built of pushes.

use super::registers::Registers;
use super::{Decoding, Instruction, number};

pub(in crate::cpu) const DECODING: Decoding = Decoding { role, decode };

fn role(register: &str) -> Option<&'static str> {
    Some(match register {
        "%rsp" => "sp",
        "%rbp" => "fp",
        _ => return None,
    })
}

/// Mnemonics whose last operand is not written.
const READ_ONLY: &[&str] =
    &["cmp", "test", "call", "j", "ret", "nop", "ud2", "int", "cld", "swapgs", "wrmsr", "verw", "bt"];

fn decode(registers: &mut Registers, instruction: &mut Instruction<'_>) {
    let Instruction { mnemonic, operands, .. } = *instruction;
    match (mnemonic, operands) {
        ("push" | "pushq" | "pushfq" | "pushf", _) => push(registers, operands),
        ("pop" | "popq", [to]) => {
            registers.set_aside(to);
            let name = name(registers, to);
            registers.does(format!("pop {name}"));
        }
        ("popf" | "popfq", _) => registers.does("pop flags"),
        ("leave" | "leaveq", _) => registers.does("leave"),
        ("add" | "addq", [by, to]) if number(by).is_some() => adjust(registers, to, number(by).unwrap_or_default()),
        ("sub" | "subq", [by, to]) if number(by).is_some() => {
            adjust(registers, to, number(by).unwrap_or_default().wrapping_neg());
        }
        ("lea" | "leaq", [from, to]) => match memory(from) {
            Some((base, offset)) => registers.add(to, base, offset),
            None => registers.set(to, from, "*"),
        },
        ("mov" | "movq" | "movabsq" | "movl", [from, to]) => mov(registers, from, &whole(to)),
        // 32-bit operations on 64-bit registers clear them: xorl %ebp, %ebp.
        ("xor" | "xorl", ["%ebp", "%ebp"]) => registers.set("%rbp", "0", "0"),
        _ if READ_ONLY.iter().any(|name| mnemonic.starts_with(name)) => {}
        _ => {
            if let [.., to] = operands {
                match memory(to) {
                    Some((base, offset)) if role(base).is_some() => {
                        registers.does(format!("{mnemonic} [{}{offset:+}]", role(base).unwrap_or_default()));
                    }
                    _ => registers.set(&whole(to), mnemonic, mnemonic),
                }
            }
        }
    }
}

/// `%rdi` as rdi, %rbp as fp, a word on the stack as `[sp+16]`; constants and other memory have no name.
fn name(registers: &Registers, operand: &str) -> String {
    match registers.value(operand) {
        (text, key) if key != "*" => return text,
        _ => {}
    }
    match memory(operand) {
        Some((base, offset)) => match role(base) {
            Some(role) => format!("[{role}{offset:+}]"),
            None => "memory".to_owned(),
        },
        None if operand.starts_with('%') && !operand.contains(':') => operand.trim_start_matches('%').to_owned(),
        None if operand.starts_with('$') => "constant".to_owned(),
        None => "memory".to_owned(),
    }
}

fn push(registers: &mut Registers, operands: &[&str]) {
    let what = operands.first().map_or_else(|| "flags".to_owned(), |operand| name(registers, operand));
    registers.does(format!("push {what}"));
}

fn adjust(registers: &mut Registers, to: &str, by: i64) {
    match memory(to) {
        Some((base, offset)) if role(base).is_some() => {
            registers.does(format!("[{}{offset:+}] += {by}", role(base).unwrap_or_default()));
        }
        Some(_) => {}
        None => registers.add(to, to, by),
    }
}

fn mov(registers: &mut Registers, from: &str, to: &str) {
    match (memory(from), memory(to)) {
        (_, Some((base, offset))) => {
            let place = registers.place(base, offset);
            match number(from).filter(|_| from.starts_with('$')) {
                Some(value) => registers.store_number(value, &place),
                None if place.is_on_stack => {
                    let name = name(registers, from);
                    registers.does(format!("{} = {name}", place.text));
                }
                None => registers.store(from, &place),
            }
        }
        (Some((base, offset)), None) => {
            let place = registers.place(base, offset);
            if place.is_on_stack && role(to).is_none() {
                registers.set_aside(to);
                let name = name(registers, to);
                registers.does(format!("{name} = {}", place.text));
            }
            registers.load(to, &place);
        }
        // A per-CPU word.
        (None, None) if to.contains(':') => {
            if let Some(role) = role(from) {
                registers.does_alike(format!("[{to}] = {role}"), format!("[*] = {role}"));
            }
        }
        (None, None) if from.contains(':') => registers.set(to, &format!("[{from}]"), "[*]"),
        (None, None) => match number(from) {
            Some(value) => registers.know(to, &value.to_string()),
            None => registers.copy(to, &whole(from)),
        },
    }
}

/// The 64-bit register of a 32-bit one, a write to which clears the rest: %ecx is %rcx, %r8d is %r8.
fn whole(operand: &str) -> String {
    match operand.strip_prefix("%e") {
        Some(name) => format!("%r{name}"),
        None if operand.starts_with("%r") => operand.trim_end_matches('d').to_owned(),
        None => operand.to_owned(),
    }
}

/// The base register and the offset of `0x10(%rsp)`.
fn memory(text: &str) -> Option<(&str, i64)> {
    let (offset, rest) = text.split_once('(')?;
    let base = rest.strip_suffix(')')?;
    let offset = offset.rsplit(':').next()?;
    let offset = if offset.is_empty() { 0 } else { number(offset)? };
    Some((base.split(',').next()?, offset))
}

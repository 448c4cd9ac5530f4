//! 64-bit RISC-V, as capstone prints it, without the prefix of compressed instructions.

use super::registers::Registers;
use super::{Decoding, Instruction, number};
use crate::cpu::{Flow, FlowKind};

pub(in crate::cpu) const DECODING: Decoding = Decoding { role, decode };

fn role(register: &str) -> Option<&'static str> {
    Some(match register {
        "sp" => "sp",
        "s0" | "fp" => "fp",
        "ra" => "ra",
        // The kernel's thread pointer (arch/riscv/include/asm/current.h).
        "tp" => "current",
        "zero" => "0",
        _ => return None,
    })
}

/// CSRs whose values are the state of an interrupted program, or say whose stack is in use.
const STATE: &[&str] = &["sepc", "sstatus", "sscratch"];

fn decode(registers: &mut Registers, instruction: &mut Instruction<'_>) {
    let Instruction { address, mnemonic, operands, .. } = *instruction;
    match (mnemonic, operands) {
        ("addi" | "addi4spn", [to, from, by]) if number(by).is_some() => {
            registers.add(to, from, number(by).unwrap_or_default());
        }
        ("addi" | "addi16sp", [to, by]) => registers.add(to, to, number(by).unwrap_or_default()),
        ("mv", [to, from]) => registers.copy(to, from),
        ("li", [to, value]) if number(value).is_some() => {
            registers.know(to, &number(value).unwrap_or_default().to_string());
        }
        ("auipc", [to, page]) => {
            let page = number(page).unwrap_or_default();
            let target = address.wrapping_add_signed(page.wrapping_shl(44).wrapping_shr(32));
            registers.page(to, target);
        }
        ("csrr", [to, csr]) => csr_read(registers, to, csr),
        ("csrw" | "csrs" | "csrc" | "csrwi" | "csrsi" | "csrci", [csr, from]) => csr_write(registers, csr, from),
        ("csrrw" | "csrrs" | "csrrc" | "csrrwi" | "csrrsi" | "csrrci", [to, csr, from]) => {
            let (text, key) = registers.value(from);
            csr_read(registers, to, csr);
            if STATE.contains(csr) && *csr != "sstatus" && *from != "zero" {
                registers.does_alike(format!("{csr} = {text}"), format!("{csr} = {key}"));
            }
        }
        ("sd" | "sdsp" | "sw" | "swsp", [register, place]) => {
            if let Some((base, offset)) = memory(place) {
                let place = registers.place(base, offset);
                registers.store(register, &place);
            }
        }
        ("ld" | "ldsp" | "lw" | "lwsp" | "lwu", [register, place]) => match memory(place) {
            Some((base, offset)) => {
                let place = registers.place(base, offset);
                registers.load(register, &place);
            }
            None => registers.set(register, "load", "load"),
        },
        _ => others(registers, mnemonic, operands, instruction.flow),
    }
}

fn others(registers: &mut Registers, mnemonic: &str, operands: &[&str], flow: &mut Flow) {
    match flow.kind {
        FlowKind::Sequential => {}
        FlowKind::Call | FlowKind::Jump => {
            // auipc and jalr are one far transfer.
            if flow.target.is_none()
                && let Some((base, by)) = indirect(operands)
                && let Some(page) = registers.page_of(base)
            {
                flow.target = Some(page.wrapping_add_signed(by));
            }
            return;
        }
        FlowKind::Return | FlowKind::Exception => return,
    }
    let is_store = matches!(
        mnemonic,
        "sb" | "sh" | "sc.d" | "sc.w" | "fsd" | "fsdsp" | "fsw" | "fence" | "fence.i" | "sfence.vma"
    );
    if let [to, from @ ..] = operands
        && !is_store
    {
        registers.compute(to, mnemonic, from);
    }
}

/// The base and the offset of `jalr`'s operands: `ra, 0x10(ra)`, `ra, ra, 0x10` or `a0`.
fn indirect<'a>(operands: &[&'a str]) -> Option<(&'a str, i64)> {
    match operands {
        [.., base, by] if number(by).is_some() => Some((base, number(by)?)),
        [.., last] => memory(last).or(Some((last, 0))),
        [] => None,
    }
}

fn csr_read(registers: &mut Registers, to: &str, csr: &str) {
    if STATE.contains(&csr) { registers.know(to, csr) } else { registers.set(to, csr, csr) }
}

fn csr_write(registers: &mut Registers, csr: &str, from: &str) {
    if STATE.contains(&csr) && csr != "sstatus" {
        let (text, key) = registers.value(from);
        registers.does_alike(format!("{csr} = {text}"), format!("{csr} = {key}"));
    }
}

/// `16(sp)`.
fn memory(text: &str) -> Option<(&str, i64)> {
    let (offset, base) = text.strip_suffix(')')?.split_once('(')?;
    let offset = if offset.is_empty() { 0 } else { number(offset)? };
    Some((base, offset))
}

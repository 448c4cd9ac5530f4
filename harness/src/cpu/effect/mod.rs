//! What each instruction does to what a stack unwinder goes by: the stack and frame pointers, the return address, frame records,
//! the running task, and the flow of control. Read from the disassembly, one instruction at a time, for comparing two pieces of
//! code that should look alike to an unwinder.
//!
//! Registers that no unwinder goes by have no names in what is compared: two functions may differ in them. What such a register
//! is known to hold (a constant, a system register, SP) counts instead, in a straight line of code.

mod arm64;
mod registers;
mod riscv64;
mod x86_64;

pub(super) use arm64::DECODING as ARM64;
pub(super) use riscv64::DECODING as RISCV64;
pub(super) use x86_64::DECODING as X86_64;

use std::collections::BTreeMap;

use capstone::Capstone;

use super::{Cpu, Flow, FlowKind, Signing};
use crate::Error;
use registers::Registers;

/// Something that an instruction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// As it is shown: `[sp+8] = ra`.
    pub text: String,
    /// As it is compared: registers without a role are `*`.
    pub key: String,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its mnemonic, without a prefix or suffix for the encoding.
    pub mnemonic: String,
    /// What it does to the flow of control.
    pub flow: Flow,
    /// What it does that matters to an unwinder, in order.
    pub effects: Vec<Effect>,
}

impl Step {
    /// Whether it does nothing at all: where a kernel is patched at boot, and where code is aligned.
    #[must_use]
    pub fn is_nop(&self) -> bool {
        matches!(self.mnemonic.as_str(), "nop" | "nopw" | "nopl" | "int3" | "udf" | "unimp")
    }

    /// Whether the instruction after it is never reached from it.
    #[must_use]
    pub fn ends(&self) -> bool {
        match self.flow.kind {
            FlowKind::Return => true,
            FlowKind::Exception => !matches!(self.mnemonic.as_str(), "int3" | "smc" | "hvc" | "svc" | "ecall"),
            FlowKind::Jump => {
                matches!(self.mnemonic.as_str(), "b" | "br" | "jmp" | "jmpq" | "j" | "jr" | "jal" | "jalr")
            }
            FlowKind::Call | FlowKind::Sequential => false,
        }
    }
}

/// How a CPU's instructions are read.
pub(super) struct Decoding {
    role: registers::RoleOf,
    decode: fn(&mut Registers, &mut Instruction<'_>),
}

/// One instruction as it is printed.
struct Instruction<'a> {
    address: u64,
    mnemonic: &'a str,
    operands: &'a [&'a str],
    /// A decoder that knows the target fills it in.
    flow: &'a mut Flow,
}

/// What registers are known to hold at some point of the code.
#[derive(Debug, Clone)]
pub struct Held(BTreeMap<String, String>);

/// Decodes code in order, and remembers what registers hold.
pub struct Effects {
    cpu: &'static Cpu,
    capstone: Capstone,
    registers: Registers,
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Effects").field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

impl Effects {
    /// A decoder for this CPU. `watched` are registers that count like the link register, under their own names: those in which
    /// a tracer's hook is given a return address.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when capstone cannot be set up.
    pub fn new(cpu: &'static Cpu, watched: &[String]) -> Result<Self, Error> {
        let refused =
            |error: capstone::Error| Error::Emulator { doing: "open the disassembler", reason: error.to_string() };
        let mut capstone = cpu.disassembler().map_err(refused)?;
        capstone.set_detail(false).map_err(refused)?;
        Ok(Self { cpu, capstone, registers: Registers::new(cpu.decoding.role, watched) })
    }

    /// What registers hold now.
    #[must_use]
    pub fn held(&self) -> Held {
        Held(self.registers.held())
    }

    /// Registers hold what they hold wherever control comes from.
    pub fn meet(&mut self, from: &[Held]) {
        let mut all = from.iter();
        let mut held = all.next().map(|first| first.0.clone()).unwrap_or_default();
        for other in all {
            held.retain(|register, value| other.0.get(register) == Some(value));
        }
        self.registers.hold(held);
    }

    /// Forgets what registers hold: control comes from code that was not read, or a function was called.
    pub fn forget(&mut self) {
        self.registers.forget();
    }

    /// The next instruction; `bytes` are not empty and may reach beyond it. What is no instruction is skipped: by one byte, or by
    /// as much as the smallest instruction has.
    pub fn step(&mut self, address: u64, bytes: &[u8]) -> Step {
        let decoded = self.capstone.disasm_count(bytes, address, 1).ok();
        let Some(instruction) = decoded.as_ref().and_then(|decoded| decoded.first()) else {
            let size = if self.cpu.links().is_empty() { 1 } else { 2.min(bytes.len() as u64) };
            return Step { address, size, mnemonic: ".byte".into(), flow: Flow::SEQUENTIAL, effects: Vec::new() };
        };
        let mnemonic = instruction.mnemonic().unwrap_or_default();
        let mnemonic = mnemonic.strip_prefix("c.").unwrap_or(mnemonic).to_owned();
        let operands = operands(instruction.op_str().unwrap_or_default());
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let mut flow = self.cpu.flow(address, bytes);
        match self.cpu.signing(bytes) {
            Some(Signing::Sign(_)) => self.registers.does("sign ra"),
            Some(Signing::Authenticate) => self.registers.does("authenticate ra"),
            None => {
                let mut instruction =
                    Instruction { address, mnemonic: &mnemonic, operands: &operands, flow: &mut flow };
                (self.cpu.decoding.decode)(&mut self.registers, &mut instruction);
            }
        }
        let effects = self.registers.take();
        Step { address, size: instruction.len() as u64, mnemonic, flow, effects }
    }
}

/// The operands, separated at the commas outside of brackets.
fn operands(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut depth = 0_i32;
    for letter in text.chars() {
        match letter {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth -= 1,
            _ => {}
        }
        match all.last_mut() {
            Some(last) if letter != ',' || depth > 0 => last.push(letter),
            _ => all.push(String::new()),
        }
    }
    all.iter().map(|operand| operand.trim().to_owned()).filter(|operand| !operand.is_empty()).collect()
}

/// A number as disassemblers print it: `#0x10`, `$-8`, `-0x10`.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(['#', '$']);
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?.cast_signed(),
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests;

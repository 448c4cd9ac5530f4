//! What is wrong with the state of a walk whose pcs are right: which value, and by how much.

use std::fmt;

use super::WalkEntry;
use crate::cpu::Cpu;
use crate::guest::signed_hex;
use crate::oracle::Truth;
use crate::subject::Compares;

/// A value in an entry of a walk that is not that of the activation for which the entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The number of the entry.
    pub entry: usize,
    /// Of what: the CFA, or the name of a register.
    pub what: &'static str,
    /// What the walk gave.
    pub found: u64,
    /// What it was at the call.
    pub truth: u64,
}

/// The values that are compared and differ, in the entries whose pc is right.
#[must_use]
pub fn differences(cpu: &Cpu, compares: Compares, truth: &Truth, entries: &[WalkEntry]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut waiting = truth.activations();
    for (entry, walked) in entries.iter().enumerate().skip(1) {
        let Some(activation) = waiting.clone().find(|activation| activation.resume == walked.pc.value()) else {
            continue;
        };
        waiting.by_ref().take_while(|older| !std::ptr::eq(*older, activation)).for_each(drop);
        let mut compare = |what, register, truth| {
            if let Some(value) = walked.regs.get(register).filter(|value| *value != truth) {
                found.push(Difference { entry, what, found: value, truth });
            }
        };
        if compares.cfa {
            compare("the CFA", cpu.sp, activation.cfa);
        }
        for (index, register) in cpu.callee_saved.iter().enumerate() {
            let Some(truth) = activation.kept(index) else { continue };
            if compares.callee_saved || (compares.fp && *register == cpu.abi.fp) {
                compare(cpu.abi.register_name(*register), *register, truth);
            }
        }
    }
    found
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, what, found, truth } = self;
        let off = signed_hex(found.wrapping_sub(*truth).cast_signed());
        write!(formatter, "{what} of entry {entry} is off by {off}")
    }
}

//! The instructions of a piece of code, which of them control can reach, and what registers hold there.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::cpu::{Cpu, Effects, FlowKind, Held, Step};

/// An instruction, and whether control can get there.
pub(super) struct Reached {
    pub(super) step: Step,
    pub(super) is_reached: bool,
}

/// Where branches within the code go to.
pub(super) fn labels(steps: &[Reached]) -> BTreeSet<u64> {
    let starts: BTreeSet<u64> = steps.iter().skip(1).map(|step| step.step.address).collect();
    let jumps = steps.iter().filter(|step| step.step.flow.kind == FlowKind::Jump);
    jumps.filter_map(|step| step.step.flow.target).filter(|target| starts.contains(target)).collect()
}

/// Decodes code in order. Registers hold at a label what they hold wherever control comes from, and nothing where it comes from
/// behind.
pub(super) fn steps(cpu: &'static Cpu, start: u64, bytes: &[u8], watched: &[String]) -> Result<Vec<Reached>, Error> {
    let read = |back: &BTreeSet<u64>| -> Result<Vec<Reached>, Error> {
        let mut effects = Effects::new(cpu, watched)?;
        let mut steps: Vec<Reached> = Vec::new();
        let mut from: BTreeMap<u64, Vec<Held>> = BTreeMap::new();
        let (mut at, mut is_reached) = (0, true);
        while at < bytes.len() {
            let address = start + at as u64;
            if let Some(mut held) = from.remove(&address) {
                if is_reached {
                    held.push(effects.held());
                }
                effects.meet(&held);
                is_reached = true;
            }
            if back.contains(&address) {
                effects.forget();
                is_reached = true;
            }
            let step = effects.step(address, &bytes[at..]);
            at += step.size.max(1) as usize;
            if is_reached
                && step.flow.kind == FlowKind::Jump
                && let Some(target) = step.flow.target.filter(|target| *target > address)
            {
                from.entry(target).or_default().push(effects.held());
            }
            if step.flow.kind == FlowKind::Call {
                effects.forget();
            }
            let ends = step.ends();
            steps.push(Reached { step, is_reached });
            is_reached &= !ends;
        }
        Ok(steps)
    };
    let first = read(&BTreeSet::new())?;
    let jumps = first.iter().map(|step| &step.step).filter(|step| step.flow.kind == FlowKind::Jump);
    let back = jumps.filter_map(|step| step.flow.target.filter(|target| *target <= step.address)).collect();
    read(&back)
}

//! The events of one function.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use super::pairs::Thunks;
use crate::Error;
use crate::cpu::{Cpu, Effects, FlowKind, Held, Step};

/// Something that an unwinder could notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where, in bytes from the start of the function.
    pub offset: u64,
    /// As it is shown.
    pub text: String,
    /// As it is compared.
    pub key: String,
    /// The other function that control goes to.
    pub link: Option<(Link, String)>,
}

/// How control goes to another function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// It is called.
    Call,
    /// It is jumped to.
    Jump,
}

/// A function as its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// In the order of the code.
    pub events: Vec<Event>,
    /// How many instructions do nothing, behind the last one that does something apart.
    pub nops: usize,
}

impl Body {
    /// Reads the code, part by part. `watched` are registers that count like the link register.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when capstone cannot be set up.
    pub fn of(cpu: &'static Cpu, parts: &[Code<'_>], watched: &[String], thunks: &Thunks) -> Result<Self, Error> {
        let mut body = Self::default();
        for code in parts {
            let steps = steps(cpu, code.start, code.bytes, watched)?;
            let labels = labels(&steps);
            // Behind the last instruction that is reached lie padding, literals, and what stops speculation.
            let end = steps.iter().rposition(|step| step.is_reached && !step.step.is_nop()).map_or(0, |last| last + 1);
            for Reached { step, .. } in &steps[..end] {
                body.nops += usize::from(step.is_nop());
                let offset = step.address - code.start;
                if labels.contains(&step.address) {
                    body.push(offset, "label:".to_owned());
                }
                for effect in &step.effects {
                    let (text, key) = (effect.text.clone(), effect.key.clone());
                    body.events.push(Event { offset, text, key, link: None });
                }
                body.flow(step, code, thunks);
            }
        }
        Ok(body)
    }

    fn push(&mut self, offset: u64, text: String) {
        self.events.push(Event { offset, key: text.clone(), text, link: None });
    }

    fn flow(&mut self, step: &Step, code: &Code<'_>, thunks: &Thunks) {
        let offset = step.address - code.start;
        let target = step.flow.target;
        let end = code.start + code.bytes.len() as u64;
        let (link, verb) = match step.flow.kind {
            FlowKind::Sequential => return,
            FlowKind::Return => return self.push(offset, "return".to_owned()),
            FlowKind::Exception if step.is_nop() => return,
            FlowKind::Exception => return self.push(offset, step.mnemonic.clone()),
            FlowKind::Jump => match target {
                Some(target) if (code.start..end).contains(&target) => {
                    let verb = if step.ends() { "jump" } else { "branch" };
                    let place = if target > step.address { "forward" } else { "back" };
                    return self.push(offset, format!("{verb} {place}"));
                }
                _ if step.ends() => (Link::Jump, "jump"),
                _ => (Link::Jump, "branch"),
            },
            FlowKind::Call => (Link::Call, "call"),
        };
        let Some(target) = target else { return self.push(offset, format!("{verb} *")) };
        let name = (code.name_of)(target);
        if link == Link::Jump && thunks.returns.contains(&name) {
            return self.push(offset, "return".to_owned());
        }
        if thunks.indirect.iter().any(|prefix| name.starts_with(prefix)) {
            return self.push(offset, format!("{verb} *"));
        }
        let text = format!("{verb} {name}");
        self.events.push(Event { offset, text, key: verb.to_owned(), link: Some((link, name)) });
    }
}

/// An instruction, and whether control can get there.
pub(super) struct Reached {
    pub(super) step: Step,
    pub(super) is_reached: bool,
}

/// Where branches within the code go to.
fn labels(steps: &[Reached]) -> BTreeSet<u64> {
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
            if is_reached && step.flow.kind == FlowKind::Jump {
                if let Some(target) = step.flow.target.filter(|target| *target > address) {
                    from.entry(target).or_default().push(effects.held());
                }
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

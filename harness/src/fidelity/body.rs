//! The events of one function.

use super::code::Code;
use super::pairs::Thunks;
use super::steps::{Reached, labels, steps};
use crate::Error;
use crate::cpu::{Cpu, FlowKind, Step};

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

//! The expressions of rules, kept apart from the sections that they are from.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::row::{CfaRule, Entry, Expression, Rule};

/// The expressions in the rules of all sections, each kept once: equal rows name equal places.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    bytes: Vec<u8>,
    known: BTreeMap<Vec<u8>, Expression>,
}

impl Expressions {
    /// The place that an expression of a section has here. One that reaches beyond its section stays unreadable.
    fn keep(&mut self, section: &[u8], at: Expression) -> Expression {
        let start = at.offset as usize;
        let Some(bytes) = section.get(start..start.saturating_add(at.length as usize)) else {
            return Expression { offset: u32::MAX, length: at.length };
        };
        if let Some(known) = self.known.get(bytes) {
            return *known;
        }
        let place = Expression { offset: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), length: at.length };
        self.bytes.extend_from_slice(bytes);
        self.known.insert(bytes.to_vec(), place);
        place
    }

    pub(super) fn keep_rule(&mut self, section: &[u8], rule: Rule) -> Rule {
        match rule {
            Rule::Expression(at) => Rule::Expression(self.keep(section, at)),
            Rule::ValExpression(at) => Rule::ValExpression(self.keep(section, at)),
            rule => rule,
        }
    }

    pub(super) fn keep_entry(&mut self, section: &[u8], entry: Entry) -> Entry {
        let Entry::Row(mut row) = entry else { return entry };
        if let CfaRule::Expression(at) = row.cfa {
            row.cfa = CfaRule::Expression(self.keep(section, at));
        }
        row.ra = self.keep_rule(section, row.ra);
        row.fp = self.keep_rule(section, row.fp);
        Entry::Row(row)
    }

    pub(super) fn get(&self, at: Expression) -> Option<&[u8]> {
        let start = at.offset as usize;
        self.bytes.get(start..start.checked_add(at.length as usize)?)
    }
}

//! What a table has for an instruction, and how that was judged.

use kunwind::{Entry, Error, Format};

use super::FORMATS;
use super::judge::Judgement;
use crate::guest::Program;
use crate::recording::rows::Part;

/// Why the place of a return address cannot be judged where a tracer keeps the original elsewhere. Scenarios declare that with
/// `return-hook`.
pub(super) const HOOKED: &str = "the return address alone: a return hook had replaced it at each arrival";

/// What a table has for an instruction.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// Nothing.
    None,
    /// An entry.
    Entry(Entry),
    /// Something that cannot be read.
    Unread(String),
}

/// A table's data for one instruction, and how they were judged.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) data: Data,
    pub(super) judged: [bool; Part::ALL.len()],
    pub(super) wrong: [Option<String>; Part::ALL.len()],
    /// Why an arrival was not judged, for the latest that was not.
    blocked: Option<&'static str>,
}

impl Asked {
    fn new(program: &Program, format: Format, address: u64) -> Self {
        let data = match program.tables.get(format).map(|table| table.entry(address)) {
            None | Some(Ok(None)) => Data::None,
            Some(Ok(Some(Entry::NoRow { .. }))) => Data::None,
            Some(Ok(Some(entry))) => Data::Entry(entry),
            // ORC says of some code that it knows nothing (ORC_TYPE_UNDEFINED).
            Some(Err(Error::UnusableRule(_))) if format == Format::Orc => Data::None,
            Some(Err(error)) => {
                Data::Unread(program.tables.reason(format, address).unwrap_or_else(|| error.to_string()))
            }
        };
        let nothing = [const { None }; Part::ALL.len()];
        Self { data, judged: [false; Part::ALL.len()], wrong: nothing, blocked: None }
    }

    /// The entry, if there is one.
    pub(super) const fn entry(&self) -> Option<&Entry> {
        match &self.data {
            Data::Entry(entry) => Some(entry),
            Data::None | Data::Unread(_) => None,
        }
    }

    /// Takes a judgement. `role` says in which role the function was judged, where it was not the running one.
    pub(super) fn note(&mut self, judgement: Judgement, role: &str, blocked: &'static str) {
        if judgement.iter().all(Option::is_none) {
            self.blocked = Some(blocked);
        }
        for (part, outcome) in judgement.into_iter().enumerate() {
            self.judged[part] |= outcome.is_some();
            if let Some(Err(detail)) = outcome {
                self.wrong[part].get_or_insert_with(|| format!("{role}{detail}"));
            }
        }
    }

    /// Why it was not judged, if it ran or has data that could not be read.
    pub(super) fn unjudged(&self, points: u64, has_neighbours: bool) -> Option<String> {
        match &self.data {
            Data::Unread(reason) => Some(reason.clone()),
            Data::None if points > 0 && has_neighbours => {
                Some("there is no row for it, though there are for others of the function".to_owned())
            }
            Data::Entry(_) if points > 0 && self.judged.iter().all(|judged| !judged) => {
                Some(self.blocked.unwrap_or("there was nothing to compare it with").to_owned())
            }
            Data::Entry(Entry::Row(_)) if points > 0 && self.judged[0] && !self.judged[1] => Some(HOOKED.to_owned()),
            Data::None | Data::Entry(_) => None,
        }
    }
}

/// An instruction.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) points: u64,
    /// Whether the frame record led to the caller at each arrival that could be judged.
    pub(super) frame_pointer: Option<bool>,
    /// In the order of [`FORMATS`].
    pub(super) asked: [Asked; FORMATS.len()],
}

impl Site {
    pub(super) fn new(program: &Program, address: u64) -> Self {
        Self { points: 0, frame_pointer: None, asked: FORMATS.map(|format| Asked::new(program, format, address)) }
    }
}

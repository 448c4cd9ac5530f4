//! What `sframe encode` says of the section that it made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kunwind::sframe::write::{FromCfi, Refusal, Unneeded};

use super::append::Plan;
use super::cfi_file::{AllCfi, Elf};
use super::plural;

/// What `strip` does to the copy: it exits with 0, and the program headers are where the loader does not look, or the segment
/// is where it cannot be mapped. That of LLVM 14 works.
const STRIP: &str =
    "note: `strip` the input, not the copy: that of binutils 2.40 and of elfutils 0.188 can make it unusable";
/// Smaller holes are not worth a word: the padding between segments is as large.
const LARGE_HOLE: u64 = 1 << 20;

/// What is printed.
pub(super) struct Report {
    pub(super) text: String,
    /// Whether every function that CFI describes is in the section, with the rows that it has there.
    pub(super) is_complete: bool,
}

impl Report {
    pub(super) fn new(elf: &Elf<'_>, cfi: &AllCfi, made: &FromCfi, plan: Option<&Plan>) -> Self {
        let mut report = Self { text: String::new(), is_complete: made.refusals.is_empty() && cfi.unread.is_empty() };
        report.line(&summary(elf, cfi, made, plan));
        for reason in &cfi.unread {
            report.line(&format!("not read: {reason}"));
        }
        if !made.refusals.is_empty() {
            report.line(&format!("{} without rows, each with its reason:", made.refusals.len()));
        }
        for refusal in &made.refusals {
            let name = name(elf, cfi, refusal);
            report.line(&format!("  {name}: {}", refusal.reason));
        }
        report.skipped(made);
        if !made.without_rows.is_empty() {
            let count = made.without_rows.len();
            report.line(&format!("{count} {} without a row, because the CFI has none", plural(count, "function")));
        }
        if let Some(plan) = plan {
            report.plan(plan);
        }
        report
    }

    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    /// Adds a line, if there is one.
    pub(super) fn note(&mut self, note: Option<&str>) {
        if let Some(note) = note {
            self.line(note);
        }
    }

    fn skipped(&mut self, made: &FromCfi) {
        let mut counts: BTreeMap<Unneeded, usize> = BTreeMap::new();
        for skipped in &made.skipped {
            *counts.entry(skipped.why).or_default() += 1;
        }
        for (why, count) in counts {
            let entries = if count == 1 { "entry" } else { "entries" };
            let because = match why {
                Unneeded::Empty => "of a function without code",
                Unneeded::Discarded => "of code that the linker discarded",
                Unneeded::Repeated => "that repeats what another says",
            };
            self.line(&format!("{count} {entries} not needed: {because}"));
        }
    }

    fn plan(&mut self, plan: &Plan) {
        if plan.hole >= LARGE_HOLE {
            let hole = plan.hole;
            self.line(&format!(
                "note: there is a hole of {hole:#x} bytes before the new segment, so that it is as far from its place in the \
                 file as the first"
            ));
        }
        if !plan.is_found {
            self.line(
                "warning: Linux before 5.18 and qemu before 8.0 look for the program headers in another place, and cannot \
                 run the copy",
            );
        }
        self.line(STRIP);
    }
}

/// What the section holds.
fn summary(elf: &Elf<'_>, cfi: &AllCfi, made: &FromCfi, plan: Option<&Plan>) -> String {
    let section = &made.written.bytes;
    let count = |at: usize| {
        let bytes: [u8; 4] = section[at..at + 4].try_into().unwrap_or_default();
        if elf.abi.is_big_endian() { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let (functions, rows) = (count(8), count(12));
    let mut names: Vec<&str> = cfi.sections.iter().map(|section| section.name).collect();
    names.dedup();
    let place = match plan {
        Some(plan) => format!("at {:#x}, in a new segment", plan.address),
        None => format!("with {} relocations, for the linker to place", made.written.relocations.len()),
    };
    format!(
        ".sframe version 3 ({}) from {}, {} bytes {place}: {functions} functions, {rows} rows",
        elf.abi.name(),
        names.join(" and "),
        section.len()
    )
}

/// A function as a user knows it.
fn name(elf: &Elf<'_>, cfi: &AllCfi, refusal: &Refusal) -> String {
    let section = &cfi.sections[refusal.section];
    let fde = format!("FDE at {:#x} of {}", refusal.fde, section.name);
    let Some((start, size)) = refusal.range else { return fde };
    if !elf.is_relocatable() {
        let name = elf.name_of(start).map(|name| format!(" {name}")).unwrap_or_default();
        return format!("{start:#x}..{:#x}{name} ({})", start.wrapping_add(size), section.name);
    }
    // The addresses of a relocatable file are made up.
    let mut text = fde;
    let place = section.start_of(refusal.fde).and_then(|target| elf.place_of(&target));
    if let Some(place) = place {
        let _ = write!(text, ", {place}");
    }
    let _ = write!(text, ", {size} {}", plural(usize::try_from(size).unwrap_or(usize::MAX), "byte"));
    text
}

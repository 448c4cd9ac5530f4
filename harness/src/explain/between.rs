//! What changes between two points: registers, stack words, the true frames, and what each walk makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{PointName, address_of};
use crate::Error;
use crate::cpu::Regs;
use crate::experiment::{Arrival, Column, Visit};
use crate::guest::Program;
use crate::oracle::Truth;
use crate::scenario::Part;
use crate::subject::{MAX_ENTRIES, Question};
use crate::trace::{Point, RegisterSet};
use crate::verdict::Judge;

/// How much of a stack is compared, in bytes from SP on: more than the guests use.
const MOST: u64 = 0x10000;

/// More instructions than these are not listed.
const MOST_CODE: usize = 24;

/// Two points: `leaf+0x0#1..leaf+0x8#1`, or `leaf+0x0..+0x8`.
///
/// # Errors
///
/// The mistake, in words.
pub fn two_points(text: &str) -> Result<Option<(PointName, PointName)>, String> {
    let Some((first, second)) = text.split_once("..") else { return Ok(None) };
    let first: PointName = first.parse()?;
    let second = if second.starts_with('+') { format!("{}{second}", first.function).parse() } else { second.parse() };
    Ok(Some((first, second?)))
}

/// The state at one of the points.
#[derive(Debug, Default)]
struct State {
    regs: Option<Regs>,
    /// The stack from SP up, by address.
    words: BTreeMap<u64, u64>,
    truth: Option<Vec<String>>,
    /// By unwinder, in the order of columns: the verdict, and the entries.
    walks: Vec<(String, String, Vec<String>)>,
}

/// Waits for two points of an experiment and describes what changes between them.
#[derive(Debug)]
pub struct Between<'p> {
    program: &'p Program,
    judge: Judge<'p>,
    part: &'p Part,
    /// Addresses and arrivals.
    wanted: [(u64, u64); 2],
    states: [State; 2],
}

impl<'p> Between<'p> {
    /// Waits for the points, and for the walks of this part; a trace may leave out the functions `omissible`.
    ///
    /// # Errors
    ///
    /// As [`super::Explainer::new`].
    pub fn new(
        program: &'p Program,
        (first, second): (&PointName, &PointName),
        part: &'p Part,
        omissible: &'p [String],
    ) -> Result<Self, Error> {
        let place = |point: &PointName| Ok((address_of(program, point)?, point.visit));
        let wanted = [place(first)?, place(second)?];
        let judge = Judge::of_program(program, omissible);
        Ok(Self { program, judge, part, wanted, states: Default::default() })
    }

    /// The description; `None` if the guest never arrived at one of the points.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        if self.states.iter().any(|state| state.regs.is_none()) {
            return None;
        }
        let mut text = String::new();
        self.code(&mut text);
        self.registers(&mut text);
        self.words(&mut text);
        let [first, second] = &self.states;
        if let (Some(old), Some(new)) = (&first.truth, &second.truth) {
            let _ = writeln!(text, "\ntruth, youngest activation first");
            write_lists(old, new, "activation", &mut text);
        }
        for (label, verdict, entries) in &second.walks {
            let Some((_, before, old)) = first.walks.iter().find(|(other, ..)| other == label) else { continue };
            let verdicts = if before == verdict { verdict.clone() } else { format!("{before} -> {verdict}") };
            let _ = writeln!(text, "\n{label}: {verdicts}");
            write_lists(old, entries, "entry", &mut text);
        }
        if second.walks.is_empty() {
            text.push_str("\nnone of these unwinders walks from here\n");
        }
        Some(text)
    }

    /// The code from the first point to the second, if that is further down in its function, and not far.
    fn code(&self, text: &mut String) {
        let [(first, _), (second, _)] = self.wanted;
        let symbols = &self.program.guest.symbols;
        let Some(function) = symbols.function_at(first) else { return };
        let lines = self.program.listing.of(function).iter();
        let lines: Vec<_> = lines.filter(|line| (first..=second).contains(&line.address)).collect();
        if lines.last().is_none_or(|last| last.address != second) || lines.len() > MOST_CODE {
            return;
        }
        let _ = writeln!(text, "\ncode");
        for line in lines {
            let mark = if line.address == first || line.address == second { "->" } else { "  " };
            let _ = writeln!(text, "  {mark} {:<24} {}", symbols.name(line.address), line.text);
        }
    }

    fn registers(&self, text: &mut String) {
        let abi = self.program.guest.cpu.abi;
        let _ = writeln!(text, "\nregisters that change");
        let [Some(old), Some(new)] = self.states.each_ref().map(|state| state.regs) else { return };
        let changed: Vec<String> = { new.iter() }
            .filter(|(register, value)| old.get(*register) != Some(*value))
            .map(|(register, value)| {
                let before = old.get(register).map_or("unknown".to_owned(), |before| format!("{before:#018x}"));
                format!("  {:>4} {before} -> {value:#018x}", abi.register_name(register))
            })
            .collect();
        for line in &changed {
            let _ = writeln!(text, "{line}");
        }
        if changed.is_empty() {
            let _ = writeln!(text, "  (none)");
        }
    }

    fn words(&self, text: &mut String) {
        let layout = &self.program.layout;
        let [old, new] = &self.states;
        let _ = writeln!(text, "\nstack words that change, from low to high addresses");
        let mut addresses: Vec<u64> = old.words.keys().chain(new.words.keys()).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|address| old.words.get(address) != new.words.get(address));
        let told = |state: &State, address: u64| {
            state.words.get(&address).map_or("below SP".to_owned(), |word| format!("{word:#018x}"))
        };
        for address in &addresses {
            let (before, now) = (told(old, *address), told(new, *address));
            let _ = writeln!(text, "  {:<24} {before:<18} -> {now}", layout.place(*address));
        }
        if addresses.is_empty() {
            let _ = writeln!(text, "  (none)");
        }
    }

    fn which(&self, at: Arrival) -> Option<usize> {
        self.wanted.iter().position(|wanted| *wanted == (at.pc, at.visit))
    }
}

/// Two lists whose ends are alike, as traces are: what is gone, what came, and how many are the same.
fn write_lists(old: &[String], new: &[String], noun: &str, text: &mut String) {
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    for (sign, lines) in [('-', &old[..old.len() - same]), ('+', &new[..new.len() - same])] {
        for line in lines {
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    let changes = old.len() + new.len() > 2 * same;
    let plural = match (noun, same) {
        (noun, 1) => noun.to_owned(),
        ("entry", _) => "entries".to_owned(),
        (noun, _) => format!("{noun}s"),
    };
    match (changes, same) {
        (_, 0) => {}
        (false, _) => {
            let _ = writeln!(text, "    the same {same} {plural}");
        }
        (true, _) => {
            let _ = writeln!(text, "    and the same {same} older {plural}");
        }
    }
}

impl Visit for Between<'_> {
    fn point(&mut self, at: &Arrival, _: Option<&str>, machine: &Point<'_>) {
        let Some(which) = self.which(*at) else { return };
        let mut regs = Regs::none();
        machine.read(&RegisterSet::all(self.program.guest.cpu), &mut regs);
        let layout = &self.program.layout;
        let sp = regs.get(self.program.guest.cpu.sp).unwrap_or_default();
        let high = layout.stack_of(sp).map_or(sp, |stack| layout.stacks[stack].bounds.high);
        let addresses = (sp & !7..high.min(sp.saturating_add(MOST))).step_by(8);
        let state = &mut self.states[which];
        state.words = addresses.filter_map(|at| Some((at, machine.memory.read_u64(at)?))).collect();
        state.regs = Some(regs);
    }

    fn walk(&mut self, at: Arrival, _: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let Some(which) = self.which(at) else { return };
        let Program { guest, layout, .. } = self.program;
        if !self.part.has_walk(&column.subject.about().name, column.start) {
            return;
        }
        let mut entries = Vec::new();
        let (verdict, walk) = self.judge.walk(column.subject, question, truth, &mut |entry| {
            let sp = entry.regs.get(guest.cpu.abi.sp).map_or(String::new(), |sp| format!("  sp={}", layout.place(sp)));
            entries.push(format!("{:<28} {}{sp}", guest.symbols.name_of(entry.pc), entry.source));
        });
        // The first is the point itself.
        entries.drain(..1.min(entries.len()));
        let verdict = format!("{verdict} ({})", walk.outcome.claim);
        let state = &mut self.states[which];
        state.walks.push((column.label(), verdict, entries));
        let told = truth.activations().take(MAX_ENTRIES);
        state.truth.get_or_insert_with(|| {
            told.map(|one| format!("{:<28} cfa {}", one.place().name(&guest.symbols), layout.name(one.cfa))).collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{two_points, write_lists};

    #[test]
    fn two_points_of_one_function() {
        let (first, second) = two_points("leaf+0..+8").expect("points").expect("two");
        assert_eq!((first.to_string(), second.to_string()), ("leaf+0x0#1".to_owned(), "leaf+0x8#1".to_owned()));
        let (first, second) = two_points("leaf#2..caller+0x8#3").expect("points").expect("two");
        assert_eq!((first.to_string(), second.to_string()), ("leaf+0x0#2".to_owned(), "caller+0x8#3".to_owned()));
        assert_eq!(two_points("leaf+8").expect("a point"), None);
        assert!(two_points("leaf+8..").is_err());
    }

    #[test]
    fn what_older_frames_have_in_common_is_counted() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut text = String::new();
        write_lists(&list(&["a", "x", "y"]), &list(&["b", "c", "x", "y"]), "entry", &mut text);
        assert_eq!(text, "  - a\n  + b\n  + c\n    and the same 2 older entries\n");
        text.clear();
        write_lists(&list(&["x"]), &list(&["x"]), "activation", &mut text);
        assert_eq!(text, "    the same 1 activation\n");
    }
}

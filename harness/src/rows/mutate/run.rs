//! One run in which every mistake is judged wherever its row is asked.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use kunwind::{Entry, Error, Expression, Format, PauthKey, Register, Regs, Rule, Slot, Table};
use rustc_hash::FxHashMap;

use super::kinds::{Mistake, Says, mistakes};
use crate::guest::{Program, Symbol};
use crate::recording::mutation::{Family, FunctionMutants, Missed, MutantCounts, TableMutants, Why};
use crate::recording::rows::Part;
use crate::rows::follow::{Follow, Judge, Where};
use crate::rows::judge::{FrameTruth, Judgement, Values};
use crate::rows::says;
use crate::trace::Point;

/// A table with another row.
struct Mutated<'a> {
    table: &'a dyn Table,
    says: &'a Says,
}

impl Table for Mutated<'_> {
    fn entry(&self, _pc: u64) -> Result<Option<Entry>, Error> {
        Ok(self.says.entry)
    }

    fn saved(&self, _pc: u64) -> Option<&[(Register, Rule)]> {
        self.says.saved.as_deref()
    }

    fn pauth_key(&self, _pc: u64) -> PauthKey {
        self.says.key
    }

    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        self.table.expression(expression, cfa, regs, read)
    }
}

/// A mistake in a row of a function.
struct Mutant {
    /// The address of the function.
    function: u64,
    format: Format,
    family: Family,
    name: String,
    says: Says,
    /// The first instruction that it concerns.
    from: u64,
    was_reached: bool,
    /// The first part that came out otherwise, and why no verdict changed.
    differs: Option<(Part, Why)>,
    was_caught: bool,
}

/// Judges the mutants of a run.
pub(super) struct Mutants<'p> {
    program: &'p Program,
    formats: &'p [Format],
    mutants: Vec<Mutant>,
    /// The mutants of each instruction that were not caught yet.
    live: FxHashMap<u64, Vec<usize>>,
    /// The functions whose mutants were made, by address.
    seen: HashSet<u64>,
}

/// What a table says of an instruction; nothing that cannot be read.
fn says(table: &dyn Table, address: u64) -> Option<Says> {
    let entry = match table.entry(address) {
        Ok(Some(Entry::NoRow { .. }) | None) => None,
        Ok(entry) => entry,
        Err(_) => return None,
    };
    let saved = entry.and_then(|_| table.saved(address)).map(<[_]>::to_vec);
    Some(Says { entry, saved, key: table.pauth_key(address) })
}

/// Instructions of which a table says the same.
struct Row {
    lines: Range<usize>,
    says: Option<Says>,
}

fn rows(table: &dyn Table, addresses: &[u64]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let says = says(table, *address);
        match rows.last_mut().filter(|row| row.says == says) {
            Some(row) => row.lines.end = index + 1,
            None => rows.push(Row { lines: index..index + 1, says }),
        }
    }
    rows
}

impl<'p> Mutants<'p> {
    pub(super) fn new(program: &'p Program, formats: &'p [Format]) -> Self {
        Self { program, formats, mutants: Vec::new(), live: FxHashMap::default(), seen: HashSet::new() }
    }

    /// Makes the mutants of the function at an address, once.
    fn meet(&mut self, address: u64) {
        let program = self.program;
        let Some(function) = program.guest.symbols.function_at(address) else { return };
        if !self.seen.insert(function.address) {
            return;
        }
        let addresses: Vec<u64> = program.listing.of(function).iter().map(|line| line.address).collect();
        for format in self.formats {
            let Some(table) = program.tables.get(*format) else { continue };
            let rows = rows(table, &addresses);
            let mut before: Option<Says> = None;
            for row in &rows {
                if let Some(says) = &row.says {
                    self.plant(function, *format, &addresses[row.lines.clone()], says, before.as_ref());
                    before = says.entry.map(|_| says.clone());
                }
            }
            self.plant_moves(function, *format, &addresses, &rows);
        }
    }

    /// The mistakes within a row, and that it is missing: what held before it then goes on.
    fn plant(&mut self, function: &Symbol, format: Format, lines: &[u64], says: &Says, before: Option<&Says>) {
        if says.entry.is_none() {
            return;
        }
        for mistake in mistakes(self.program.guest.cpu, says) {
            self.add(function, format, lines, mistake);
        }
        let nothing = Says { entry: None, saved: None, key: says.key };
        let says = before.unwrap_or(&nothing).clone();
        self.add(function, format, lines, Mistake { family: Family::Dropped, name: "row dropped".to_owned(), says });
    }

    /// Rows that start one instruction early or late.
    fn plant_moves(&mut self, function: &Symbol, format: Format, addresses: &[u64], rows: &[Row]) {
        for pair in rows.windows(2) {
            let [before, row] = pair else { continue };
            let (Some(earlier), Some(says)) = (&before.says, &row.says) else { continue };
            let start = row.lines.start;
            let moved =
                |name: &str, says: &Says| Mistake { family: Family::Moved, name: name.to_owned(), says: says.clone() };
            if says.entry.is_some() {
                self.add(function, format, &addresses[start - 1..start], moved("row starts early", says));
            }
            if earlier.entry.is_some() && row.lines.len() > 1 {
                self.add(function, format, &addresses[start..=start], moved("row starts late", earlier));
            }
        }
    }

    fn add(&mut self, function: &Symbol, format: Format, lines: &[u64], mistake: Mistake) {
        let Some(from) = lines.first() else { return };
        let Mistake { family, name, says } = mistake;
        for line in lines {
            self.live.entry(*line).or_default().push(self.mutants.len());
        }
        self.mutants.push(Mutant {
            function: function.address,
            format,
            family,
            name,
            says,
            from: *from,
            was_reached: false,
            differs: None,
            was_caught: false,
        });
    }

    /// Makes the mutants of the functions that never ran, too.
    pub(super) fn meet_all(&mut self) {
        let functions = self.program.guest.symbols.functions();
        functions.iter().for_each(|function| self.meet(function.address));
    }

    /// What became of the mutants, by table and function.
    pub(super) fn finish(self) -> Found {
        let Self { program, mutants, formats, .. } = self;
        let mut tables: BTreeMap<usize, TableMutants> = BTreeMap::new();
        let mut missed = Vec::new();
        for mutant in &mutants {
            let index = formats.iter().position(|format| *format == mutant.format).unwrap_or_default();
            let new = || TableMutants { format: mutant.format.name().to_owned(), ..TableMutants::default() };
            let table = tables.entry(index).or_insert_with(new);
            let counts = mutant.counts();
            table.families.entry(mutant.family).or_default().add(&counts);
            let name = program.guest.symbols.function_at(mutant.function).map_or("?", |function| &function.name);
            match table.functions.last_mut().filter(|function| function.name == name) {
                Some(function) => function.counts.add(&counts),
                None => table.functions.push(FunctionMutants { name: name.to_owned(), counts }),
            }
            if counts.missed > 0 {
                missed.push(mutant.missed(program));
            }
        }
        (tables.into_values().collect(), missed)
    }
}

impl Mutant {
    fn counts(&self) -> MutantCounts {
        let mut counts = MutantCounts::default();
        let of = match (self.was_reached, self.was_caught, self.differs) {
            (false, ..) => &mut counts.unreached,
            (true, true, _) => &mut counts.caught,
            (true, false, Some(_)) => &mut counts.missed,
            (true, false, None) => &mut counts.indistinguishable,
        };
        *of = 1;
        counts
    }

    fn missed(&self, program: &Program) -> Missed {
        let (part, why) = self.differs.unwrap_or((Part::Cfa, Why::NotJudged));
        let table = program.tables.get(self.format);
        let entry = table.and_then(|table| table.entry(self.from).ok().flatten());
        Missed {
            format: self.format.name().to_owned(),
            at: program.guest.symbols.name(self.from),
            mistake: self.name.clone(),
            row: entry.map(|entry| says::entry(program, self.format, self.from, &entry)).unwrap_or_default(),
            part,
            why,
        }
    }

    /// Judges it in a frame, if its row is what is asked.
    fn judge(&mut self, table: &dyn Table, (pc, base): (u64, &Base), frame: &FrameTruth<'_>) {
        self.was_reached = true;
        let mutated = Mutated { table, says: &self.says };
        let judgement = self.says.entry.map(|entry| frame.judge(&mutated, pc, &entry)).unwrap_or_default();
        let was_judged = base.judgement.iter().any(Option::is_some);
        self.was_caught = judgement != base.judgement || (self.says.entry.is_none() && was_judged);
        if self.was_caught || self.differs.is_some() {
            return;
        }
        let values = frame.values(&mutated, pc, self.says.entry.as_ref());
        let part = Part::ALL.into_iter().find(|part| values[*part as usize] != base.values[*part as usize]);
        let why = |part: Part| match &base.judgement[part as usize] {
            None => Why::NotJudged,
            Some(Err(_)) => Why::WrongBefore,
            Some(Ok(())) => Why::CalledRight,
        };
        self.differs = part.map(|part| (part, why(part)));
    }
}

/// The mutants of each table, and those that were missed.
pub(super) type Found = (Vec<TableMutants>, Vec<Missed>);

/// What the table itself says in a frame.
struct Base {
    judgement: Judgement,
    values: Values,
}

/// Judges the mutants of an instruction, and forgets those that are caught.
fn judge(
    (mutants, live): (&mut [Mutant], &mut FxHashMap<u64, Vec<usize>>),
    program: &Program,
    place: Where,
    frame: &FrameTruth<'_>,
) {
    let Some(here) = live.get_mut(&place.instruction) else { return };
    let mut bases: Vec<(Format, Option<Base>)> = Vec::new();
    here.retain(|index| {
        let mutant = &mut mutants[*index];
        if mutant.was_caught {
            return false; // at another instruction of its row
        }
        let Some(table) = program.tables.get(mutant.format) else { return false };
        let known = bases.iter().position(|(format, _)| *format == mutant.format).unwrap_or_else(|| {
            let entry = table.entry(place.pc).ok();
            let base = entry.map(|entry| Base {
                judgement: entry.map(|entry| frame.judge(table, place.pc, &entry)).unwrap_or_default(),
                values: frame.values(table, place.pc, entry.as_ref()),
            });
            bases.push((mutant.format, base));
            bases.len() - 1
        });
        if let Some(base) = &bases[known].1 {
            mutant.judge(table, (place.pc, base), frame);
        }
        !mutant.was_caught
    });
}

impl Judge for Mutants<'_> {
    fn point(&mut self, follow: &mut Follow<'_>, at: &Point<'_>, regs: &Regs) {
        self.meet(at.pc);
        let Self { program, mutants, live, .. } = self;
        let place = Where { instruction: at.pc, pc: at.pc };
        follow.running(at, regs, |frame, _, _| judge((&mut *mutants, &mut *live), program, place, frame));
        follow.each_waiting(at, |place, frame| judge((&mut *mutants, &mut *live), program, place, frame));
    }
}

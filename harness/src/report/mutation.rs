//! What became of mutants, as text: the score of each table on one screen, and the mutants that were missed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::line::count;
use crate::recording::mutation::{Family, GuestMutants, Missed, MutantCounts, Mutation, State};
use crate::report::style::{BAD, DIM};

/// How many missed mutants are told, unless all are.
const TOLD: usize = 12;

/// The counts of each table, by its format, with those of each kind of mistake.
type ByTable<'a> = BTreeMap<&'a str, (MutantCounts, BTreeMap<Family, MutantCounts>)>;

/// The counts of each table over all guests.
#[must_use]
pub fn totals(mutation: &Mutation) -> BTreeMap<&str, MutantCounts> {
    by_table(mutation).into_iter().map(|(format, (all, _))| (format, all)).collect()
}

fn by_table(mutation: &Mutation) -> ByTable<'_> {
    let mut all = ByTable::new();
    for table in mutation.guests.iter().flat_map(|guest| &guest.tables) {
        let (sum, families) = all.entry(&table.format).or_default();
        for (family, counts) in &table.families {
            sum.add(counts);
            families.entry(*family).or_default().add(counts);
        }
    }
    all
}

/// Writes it. With `all`, every function and every missed mutant.
///
/// # Errors
///
/// Those of `out`.
pub fn write(mutation: &Mutation, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let judged = mutation.guests.iter().filter(|guest| guest.state == State::Judged).count() as u64;
    let tables = by_table(mutation);
    let mutants = tables.values().map(|(counts, _)| counts.all()).sum();
    writeln!(out, "{} in the unwind rows of {}", count(mutants, "mutant"), count(judged, "guest"))?;
    writeln!(out, "{DIM}{}{DIM:#}", head("table", ""))?;
    for (format, (counts, families)) in &tables {
        writeln!(out, "{}", line(format, "all", counts))?;
        for (family, counts) in families {
            writeln!(out, "{}", line("", family.name(), counts))?;
        }
    }
    writeln!(
        out,
        "{DIM}  score: caught of caught and missed; the others changed no value at any instruction that ran{DIM:#}"
    )?;
    if all {
        mutation.guests.iter().try_for_each(|guest| functions(guest, out))?;
    }
    missed(mutation, if all { usize::MAX } else { TOLD }, out)?;
    let is_left = |guest: &&GuestMutants| matches!(guest.state, State::NotReached(_));
    let (left, others): (Vec<_>, Vec<_>) = mutation.guests.iter().partition(is_left);
    others.iter().try_for_each(|guest| without(guest, out))?;
    let told = if all { left.len() } else { left.len().min(1) };
    left[..told].iter().try_for_each(|guest| without(guest, out))?;
    match left.len() - told {
        0 => Ok(()),
        more => writeln!(out, "{BAD}not judged{BAD:#}: {more} more for this reason (--all tells all)"),
    }
}

fn head(table: &str, family: &str) -> String {
    format!(
        "{table:<8}{family:<14}{:>9}{:>9}{:>8}{:>19}{:>11}{:>10}",
        "mutants", "caught", "missed", "indistinguishable", "unreached", "score"
    )
}

fn line(table: &str, family: &str, counts: &MutantCounts) -> String {
    let score = counts.score().map_or("-".to_owned(), |score| format!("{}.{:02}%", score / 100, score % 100));
    let MutantCounts { caught, missed, indistinguishable, unreached } = counts;
    let all = counts.all();
    format!("{table:<8}{family:<14}{all:>9}{caught:>9}{missed:>8}{indistinguishable:>19}{unreached:>11}{score:>10}")
}

fn functions(guest: &GuestMutants, out: &mut dyn Write) -> io::Result<()> {
    for table in &guest.tables {
        writeln!(out, "{} {}", guest.name, table.format)?;
        for function in &table.functions {
            let MutantCounts { caught, missed, indistinguishable, unreached } = function.counts;
            let name = &function.name;
            writeln!(out, "  {name:<30}{caught:>9}{missed:>8}{indistinguishable:>19}{unreached:>11}")?;
        }
    }
    Ok(())
}

fn missed(mutation: &Mutation, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let missed = || mutation.guests.iter().flat_map(|guest| guest.missed.iter().map(move |it| (&guest.name, it)));
    for (guest, Missed { format, at, mistake, row, part, why }) in missed().take(most) {
        let (part, why) = (part.name(), why.name());
        writeln!(out, "{BAD}missed{BAD:#}: {guest} {format} {at}: {mistake}: {part} differs, {why}")?;
        writeln!(out, "  {DIM}{row}{DIM:#}")?;
    }
    let more = missed().count().saturating_sub(most);
    if more > 0 {
        writeln!(out, "{BAD}missed{BAD:#}: {more} more (--all tells all)")?;
    }
    Ok(())
}

/// A guest whose mutants were not judged.
fn without(guest: &GuestMutants, out: &mut dyn Write) -> io::Result<()> {
    let name = &guest.name;
    match &guest.state {
        State::Judged | State::MeantVoid(_) => Ok(()),
        State::Void(reason) => writeln!(out, "{BAD}void{BAD:#}: {name}: {reason}"),
        State::Failed(reason) | State::NotReached(reason) => {
            writeln!(out, "{BAD}not judged{BAD:#}: {name}: {reason}")
        }
    }
}

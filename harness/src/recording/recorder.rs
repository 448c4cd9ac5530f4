//! Judges the walks of an experiment and records the verdicts.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::agreement::Comparison;
use super::evidence::{Evidence, Namer, Word};
use super::rows::UnreadData;
use super::shared::Same;
use super::{
    ColumnResult, Counters, Displaced, Finding, GuestRef, Label, ListedFunction, ListedInstruction, Run, Section,
    by_subject,
};
use crate::cpu::CodeAddress;
use crate::experiment::{Arrival, Column, Found, Site, Visit};
use crate::guest::conventions::trampoline_of;
use crate::guest::{Program, Unread};
use crate::oracle::{AddressPlaces, Place, Truth};
use crate::scenario::{Interruption, Range, Scenario, Variant};
use crate::subject::in_linux::in_linux;
use crate::subject::{InLinux, KeptSource, MAX_ENTRIES, Question, Reads, Start};
use crate::verdict::{Deviation, Judge, Memo, Verdict, differences, ignores_pc};

/// So often a column's verdict may change at one instruction, or the places of a return address. What changes with every turn of a loop
/// must not fill the memory, and has shown by then what there is to see.
pub const MOST_CHANGES: usize = 4096;

/// What is recorded at one instruction.
#[derive(Debug, Clone, Default)]
struct Record {
    /// Whether SP and the frame pointer were ever on different stacks here.
    split: bool,
    /// Whether there is no room for more changes.
    is_full: bool,
    /// The arrivals at which a return address is displaced.
    addresses: Vec<Displaced>,
    /// For each column.
    runs: Vec<Vec<Run>>,
}

impl Record {
    /// A column has another verdict from now on.
    fn change(&mut self, column: usize, run: Run) {
        let runs = &mut self.runs[column];
        runs.push(run);
        self.is_full |= runs.len() >= MOST_CHANGES;
    }
}

/// Most walks have no more entries.
const USUAL: usize = 8;

/// What a walk has shown.
#[derive(Debug, Clone, Copy)]
struct Latest {
    verdict: Verdict,
    /// Whether it read outside the stacks, which it must not do.
    outside: bool,
}

/// What the walks of a finding have in common: the column, the instruction's address, the verdict, whether it is reachable.
type FindingKey = (usize, u64, Verdict, bool);

/// Judges walks and records the verdicts. Its memory grows with the code and the findings, not with the number of points.
#[derive(Debug)]
pub struct Recorder<'p> {
    program: &'p Program,
    columns: &'p [Column<'p>],
    judge: Judge<'p>,
    /// For each column.
    memos: Option<Vec<Memo>>,
    /// For each column whose walks are known where nothing but the pc has changed: what the latest has shown.
    latest: Vec<Option<Latest>>,
    /// How many walks were not made because of that.
    unmade: u64,
    /// By the index of the instruction among the experiment's sites.
    records: Vec<Record>,
    /// `None` where the instruction before has such a walk too: then both are in one finding, which shows another.
    firsts: FxHashMap<FindingKey, Option<Box<Evidence>>>,
    /// The instruction that was asked for last, and the one before it in its function.
    before: Option<(u64, Option<u64>)>,
    /// For each column, how many walks read outside the stacks that they were offered.
    reads_outside_stacks: Vec<u64>,
    comparison: Comparison,
}

impl<'p> Recorder<'p> {
    /// A recorder of one run; a trace may leave out the functions `omissible`.
    #[must_use]
    pub fn new(program: &'p Program, columns: &'p [Column<'p>], omissible: &'p [String]) -> Self {
        Self {
            program,
            columns,
            judge: Judge::of_program(program, omissible),
            memos: Some(columns.iter().map(|_| Memo::default()).collect()),
            latest: vec![None; columns.len()],
            unmade: 0,
            records: Vec::new(),
            firsts: FxHashMap::default(),
            before: None,
            reads_outside_stacks: vec![0; columns.len()],
            comparison: Comparison::new(columns, program.guest.cpu),
        }
    }

    /// The same, which lets every walk be made from its start to its end, even where its rest or another's is known.
    #[must_use]
    pub fn without_memo(self) -> Self {
        Self { memos: None, judge: self.judge.without_sharing(), ..self }
    }

    /// How many walks were not made, or not to their end, because the rest was known.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.unmade + self.memos.iter().flatten().map(Memo::reused).sum::<u64>()
    }

    /// Notes what the walk of a column has shown.
    #[inline]
    fn showed(&mut self, column: &Column<'_>, verdict: Verdict, outside: bool) {
        if self.memos.is_some() && ignores_pc(column.subject) && !self.comparison.has_pairs() {
            self.latest[column.index] = Some(Latest { verdict, outside });
        }
    }

    #[inline]
    fn record(&mut self, site: usize) -> &mut Record {
        if self.records.len() <= site {
            self.add_records(site);
        }
        &mut self.records[site]
    }

    /// Notes that a column has another verdict from this arrival on, if that needs no evidence.
    #[cold]
    fn begins(&mut self, at: &Arrival, column: &Column<'_>, verdict: Verdict) -> bool {
        let Arrival { site, visit, reachable, .. } = *at;
        let is_exact = verdict == Verdict::Exact;
        if is_exact {
            self.record(site).change(column.index, Run { verdict, reachable, first: visit, last: visit });
        }
        is_exact
    }

    /// The address of the instruction before this one in its function.
    fn before(&mut self, pc: u64) -> Option<u64> {
        match self.before {
            Some((known, before)) if known == pc => before,
            _ => {
                let before = self.program.listing.before(pc);
                self.before = Some((pc, before));
                before
            }
        }
    }

    #[cold]
    fn add_records(&mut self, last: usize) {
        let empty = Record { runs: vec![Vec::new(); self.columns.len()], ..Record::default() };
        self.records.resize(last + 1, empty);
    }

    /// Walks again, and keeps the evidence for a finding.
    fn evidence(
        &mut self,
        at: Arrival,
        within: Option<&str>,
        column: &Column<'_>,
        question: &Question<'_>,
        (truth, verdict): (&Truth, Verdict),
    ) -> Evidence {
        let reads = Reads::default();
        let target = question.target.with_reads(&reads);
        let why = std::cell::RefCell::default();
        let again = Question { target: &target, why: Some(&why), ..*question };
        let (mut entries, mut rules): (Vec<CodeAddress>, Vec<KeptSource>) =
            (Vec::with_capacity(USUAL), Vec::with_capacity(USUAL));
        let mut words: Vec<Word> = Vec::with_capacity(2 * USUAL);
        let mut drain = |entries: usize| {
            words.extend(reads.borrow_mut().drain(..).map(|(address, value)| (entries as u64, address, value)));
        };
        let walk = self.judge.ask(column.subject, &again, &mut |entry| {
            drain(entries.len());
            entries.push(entry.pc);
            rules.push(KeptSource::of(entry));
        });
        let is_state =
            matches!(verdict, Verdict::Overstated(Deviation::State) | Verdict::WrongFlagged(Deviation::State));
        let compares = column.subject.about().compares;
        let wrong = || differences(self.program.guest.cpu, compares, truth, walk.entries);
        let state = if is_state { wrong() } else { Vec::new() };
        drain(entries.len());
        // A walk shows at most as many entries; a truth may be deeper than any reader reads.
        let expected = truth.activations().take(MAX_ENTRIES).map(|activation| activation.place()).collect();
        let older = truth.activations().skip(MAX_ENTRIES).count();
        let within = within.map(str::to_owned);
        let is_lost = matches!(verdict, Verdict::Crashed | Verdict::TimedOut);
        let why = Some(why.into_inner()).filter(|why| is_lost && !why.is_empty());
        Evidence { pc: at.pc, visit: at.visit, within, expected, older, entries, rules, state, why, words }
    }

    /// The plain data of the finished run.
    #[must_use]
    pub fn finish(mut self, scenario: &Scenario, variant: &Variant, kind: Interruption, found: &Found) -> Section {
        if let Some(last) = found.sites.len().checked_sub(1) {
            self.record(last); // for sites whose points were all cancelled
        }
        let columns: Vec<ColumnResult> = self.columns.iter().map(|column| self.column(column)).collect();
        let records = std::mem::take(&mut self.records);
        let guest = &self.program.guest;
        let name_of = |(place, count): &(Place, usize)| (place.name(&guest.symbols), *count);
        let void = found.testimony.contradiction.clone();
        let mut section = Section {
            scenario: scenario.name.clone(),
            variant: (!variant.name.is_empty()).then(|| variant.name.clone()),
            interrupt: kind,
            guest: GuestRef { name: guest.name.clone(), sha256: guest.hash.clone() },
            points: found.sites.iter().map(|site| site.visits).sum(),
            distinct_pcs: found.sites.iter().filter(|site| site.visits > 0).count(),
            outer: found.outer,
            left_out: found.left_out,
            unwitnessed: found.testimony.unwitnessed.iter().map(name_of).collect(),
            void_is_meant: void.as_ref().is_some_and(|reason| scenario.means_void(Some(variant), reason)),
            void,
            not_judged: None,
            interrupted: found.interrupted,
            undemanded: false,
            claims: scenario.text.claims.clone(),
            return_hook: scenario.return_hook(variant),
            condition: variant.condition.clone(),
            unread: self.program.tables.unread().iter().map(|unread| self.unread(unread)).collect(),
            subjects: by_subject(&columns),
            columns,
            functions: self.functions(&found.sites, records),
            findings: Vec::new(),
            reasons: Vec::new(),
            target: None,
            agreements: Vec::new(),
            failures: Vec::new(),
        };
        section.findings = self.findings(&section);
        section.agreements = self.comparison.finish();
        section
    }

    /// Unwind data that no subject could use, with the function that they describe, if it is known.
    fn unread(&self, unread: &Unread) -> UnreadData {
        let function = unread.range.and_then(|(start, _)| self.program.guest.symbols.function_at(start));
        let of = function.map_or(String::new(), |function| format!(" (of {})", function.name));
        UnreadData { format: unread.format.name().to_owned(), reason: format!("{}{of}", unread.reason) }
    }

    fn column(&self, column: &Column<'_>) -> ColumnResult {
        let about = column.subject.about();
        let mut counters = Counters::default();
        for run in self.records.iter().flat_map(|record| &record.runs[column.index]) {
            counters.add(run.verdict, run.reachable, run.last - run.first + 1);
        }
        ColumnResult {
            name: about.name.clone(),
            start: column.start,
            claims: about.claims,
            fix: about.fix,
            status: about.status.clone(),
            gate: about.gate,
            command: about.command.clone(),
            caller: self.caller(&about.name, column.start),
            counters,
            reads_outside_stacks: self.reads_outside_stacks[column.index],
        }
    }

    /// Who asks in Linux for the trace of a subject from this start.
    fn caller(&self, subject: &str, start: Start) -> Option<String> {
        let is_kernel = self.program.conventions.kernel.is_some();
        match in_linux(self.program.guest.cpu.name, subject, start, is_kernel)? {
            InLinux::Callable(who) => Some(who.to_owned()),
            InLinux::Hypothetical(_) => None,
        }
    }

    /// The listings of the functions in which something was judged.
    fn functions(&self, sites: &[Site], records: Vec<Record>) -> Vec<ListedFunction> {
        let guest = &self.program.guest;
        let mut by_address: Vec<(&Site, Record)> = sites.iter().zip(records).collect();
        by_address.sort_by_key(|(site, _)| site.pc);
        let mut functions: Vec<ListedFunction> = Vec::new();
        let (mut places, mut verdicts) = (Same::default(), Same::default());
        let mut rest = by_address.as_mut_slice();
        while let Some((first, _)) = rest.first() {
            let Some(function) = guest.symbols.function_at(first.pc) else { break };
            let end = rest.partition_point(|(site, _)| site.pc - function.address < function.size);
            let (here, others) = rest.split_at_mut(end);
            rest = others;
            let instructions = self.program.listing.of(function).iter().map(|line| {
                let found = here.binary_search_by_key(&line.address, |(site, _)| site.pc).ok();
                let (visits, record) = found.map_or_else(Default::default, |index| {
                    let (site, record) = &mut here[index];
                    (site.arrivals.max(site.visits), std::mem::take(record))
                });
                let Record { split, addresses, runs, .. } = record;
                let (offset, text) = (line.address - function.address, line.text.clone());
                let (addresses, runs) = (places.of(&addresses), verdicts.of(&runs));
                ListedInstruction { offset, text, visits, split, addresses, runs }
            });
            functions.push(ListedFunction {
                name: function.name.clone(),
                trampoline_of: trampoline_of(&function.name).map(str::to_owned),
                labels: labels(guest.symbols.labels_in(function)),
                instructions: instructions.collect(),
            });
        }
        functions
    }

    /// Groups the verdicts that are not exact: neighbouring instructions of a function with the same verdict in one column.
    fn findings(&mut self, section: &Section) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        let mut namer = Namer::new(self.program);
        for (index, column) in section.columns.iter().enumerate() {
            for function in &section.functions {
                let address =
                    self.program.guest.symbols.function_named(&function.name).map_or(0, |symbol| symbol.address);
                // The findings that include the instruction before, by verdict.
                let mut open: BTreeMap<(Verdict, bool), usize> = BTreeMap::new();
                for instruction in &function.instructions {
                    let mut still_open = BTreeMap::new();
                    for ((verdict, reachable), count) in deviations(instruction, index) {
                        let offset = instruction.offset;
                        let finding = *open.entry((verdict, reachable)).or_insert_with(|| {
                            let first = self.firsts.remove(&(index, address + offset, verdict, reachable)).flatten();
                            findings.push(Finding {
                                subject: column.name.clone(),
                                start: column.start,
                                verdict,
                                range: Range { function: function.name.clone(), first: offset, last: offset },
                                count: 0,
                                reachable,
                                novelty: None,
                                new: 0,
                                reason: None,
                                first: first.map(|evidence| namer.first_walk(*evidence)).unwrap_or_default(),
                            });
                            findings.len() - 1
                        });
                        findings[finding].range.last = offset;
                        findings[finding].count += count;
                        still_open.insert((verdict, reachable), finding);
                    }
                    open = still_open;
                }
            }
        }
        findings.shrink_to_fit();
        findings
    }
}

fn labels(named: Vec<(String, u64)>) -> Vec<Label> {
    named.into_iter().map(|(name, offset)| Label { name, offset }).collect()
}

/// How many walks of a column are not exact at an instruction, by verdict and by whether they are reachable.
fn deviations(instruction: &ListedInstruction, column: usize) -> BTreeMap<(Verdict, bool), u64> {
    let mut here = BTreeMap::new();
    for run in instruction.runs.get(column).into_iter().flatten().filter(|run| run.verdict != Verdict::Exact) {
        *here.entry((run.verdict, run.reachable)).or_default() += run.last - run.first + 1;
    }
    here
}

impl Visit for Recorder<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        if self.comparison.has_pairs() {
            self.comparison.walk(at, within, column, question, &self.program.guest.symbols);
        }
        let outside = &question.target.read_outside_stacks;
        outside.set(false);
        let memo = self.memos.as_mut().and_then(|memos| memos.get_mut(column.index));
        let verdict = self.judge.verdict(column.subject, question, truth, memo);
        let outside = outside.get() && !column.subject.about().may_read_all;
        self.reads_outside_stacks[column.index] += u64::from(outside);
        self.showed(column, verdict, outside);
        let Arrival { site, pc, visit, reachable } = at;
        let runs = &mut self.record(site).runs[column.index];
        match runs.last_mut() {
            Some(run) if (run.verdict, run.reachable, run.last + 1) == (verdict, reachable, visit) => {
                run.last = visit;
                return;
            }
            _ => self.record(site).change(column.index, Run { verdict, reachable, first: visit, last: visit }),
        }
        let key = (column.index, pc, verdict, reachable);
        if verdict != Verdict::Exact && !self.firsts.contains_key(&key) {
            let before = self.before(pc).map(|before| (column.index, before, verdict, reachable));
            let is_later = before.is_some_and(|before| self.firsts.contains_key(&before));
            let first = (!is_later).then(|| self.evidence(at, within, column, question, (truth, verdict)));
            self.firsts.insert(key, first.map(Box::new));
        }
    }

    fn again(&mut self, at: &Arrival, column: &Column<'_>) -> bool {
        let Some(Latest { verdict, outside }) = self.latest[column.index] else { return false };
        let here = self.records.get_mut(at.site).and_then(|record| record.runs[column.index].last_mut());
        let goes_on = |run: &&mut Run| (run.last + 1, run.reachable, run.verdict) == (at.visit, at.reachable, verdict);
        if let Some(run) = here.filter(goes_on) {
            run.last = at.visit;
        } else if !self.begins(at, column, verdict) {
            return false;
        }
        if outside {
            self.reads_outside_stacks[column.index] += 1;
        }
        self.unmade += 1;
        true
    }

    fn places(&mut self, at: Arrival, found: &AddressPlaces, truth: &Truth) {
        let guest = &self.program.guest;
        let here = guest.symbols.function_at(at.pc);
        let younger =
            truth.activations().take(found.index).map(|activation| activation.place().function(&guest.symbols));
        let mut functions = [here].into_iter().chain(younger).flatten();
        let hook = functions.find_map(|function| trampoline_of(&function.name)).map(str::to_owned);
        let (places, lost, visit) = (found.describe(guest.cpu), found.is_lost(), at.visit);
        let now = Displaced { places, lost, trampoline_of: hook, first: visit, last: visit };
        let addresses = &mut self.record(at.site).addresses;
        match addresses.last_mut() {
            Some(run) if run.last + 1 == visit && (Displaced { first: visit, last: visit, ..run.clone() }) == now => {
                run.last = visit;
            }
            _ => {
                addresses.push(now);
                let is_full = addresses.len() >= MOST_CHANGES;
                self.record(at.site).is_full |= is_full;
            }
        }
    }

    fn is_full(&self, at: &Arrival) -> bool {
        self.records.get(at.site).is_some_and(|record| record.is_full)
    }

    fn split(&mut self, at: Arrival) {
        self.record(at.site).split = true;
    }

    fn cancelled(&mut self, at: Arrival) {
        let addresses = &mut self.record(at.site).addresses;
        if let Some(run) = addresses.last_mut().filter(|run| run.last == at.visit) {
            run.last -= 1;
            if run.last < run.first {
                addresses.pop();
            }
        }
    }
}

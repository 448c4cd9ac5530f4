//! What is kept of a run: verdicts by instruction and arrival. It grows with the code and with what is found, not with the
//! number of points.

use std::collections::BTreeMap;

use kunwind::Frame;

use super::{Points, Trial};
use crate::explain::Teller;
use crate::guest::{CodeMap, Guest};
use crate::machine::Interrupt;
use crate::oracle::{Activation, Truth, Whereabouts};
use crate::prepared::Prepared;
use crate::report::atlas::trampoline;
use crate::report::{Counters, Displaced, Finding, Function, Instruction, Run, Section, Start, SubjectResult};
use crate::scenario::{Kind, Scenario, Variant};
use crate::subject::{Live, Subject};
use crate::verdict::Verdict;

/// One instruction that ran and was a point.
#[derive(Debug, Clone)]
struct Site {
    pc: u64,
    /// How often the guest came here.
    arrivals: u64,
    /// How many of the arrivals were points; the number of the present one.
    visits: u64,
    /// Whether SP and the frame pointer were ever on different stacks here.
    split: bool,
    /// Of the arrivals at which a return address is displaced.
    addresses: Vec<Displaced>,
    /// For each column.
    runs: Vec<Vec<Run>>,
}

/// The place of an instruction among the sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unseen,
    Outside,
    At(usize),
}

/// The first walk with a verdict at an instruction.
#[derive(Debug, Clone)]
struct First {
    visit: u64,
    within: Option<String>,
    expected: Vec<String>,
    got: Vec<String>,
}

/// One subject with one start: a column of the listing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'p> {
    pub(super) subject: &'p Subject,
    pub(super) start: Start,
}

impl Column<'_> {
    /// The head of the column.
    fn label(&self) -> String {
        crate::report::label(&self.subject.name, self.start)
    }
}

/// A point: the last arrival at a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) site: usize,
    /// Whether the interruption can really arrive there.
    pub(super) reachable: bool,
}

/// Judges at points and remembers the verdicts.
pub(super) struct Recorder<'p> {
    pub(super) prepared: &'p Prepared,
    pub(super) columns: Vec<Column<'p>>,
    points: Points<'p>,
    places: CodeMap<Place>,
    sites: Vec<Site>,
    firsts: BTreeMap<(usize, u64, Verdict, bool), First>,
    /// For each column, how many walks read outside of the stacks that they were offered.
    strays: Vec<u64>,
    buffer: Vec<Frame>,
    /// What stands before a point's own name: the outer exception of a nested one.
    pub(super) within: Option<String>,
    /// Tells one point in full, if somebody asked for it.
    pub(super) teller: Option<Teller>,
}

impl<'p> Recorder<'p> {
    pub(super) fn new(prepared: &'p Prepared, columns: Vec<Column<'p>>, points: Points<'p>) -> Self {
        Self {
            prepared,
            strays: vec![0; columns.len()],
            columns,
            points,
            places: CodeMap::new(&prepared.guest, Place::Unseen),
            sites: Vec::new(),
            firsts: BTreeMap::new(),
            buffer: vec![super::NOWHERE; crate::subject::MAX_FRAMES],
            within: None,
            teller: None,
        }
    }

    /// Counts an arrival. The site, if this arrival is a point.
    pub(super) fn arrive(&mut self, pc: u64) -> Option<usize> {
        let place = self.places.get_mut(pc)?;
        if *place == Place::Unseen {
            let function = self.prepared.guest.symbols.function_at(pc);
            let is_within = function
                .is_some_and(|function| self.points.within.is_empty() || self.points.within.contains(&function.name));
            *place = if is_within { Place::At(self.sites.len()) } else { Place::Outside };
            if is_within {
                self.sites.push(Site {
                    pc,
                    arrivals: 0,
                    visits: 0,
                    split: false,
                    addresses: Vec::new(),
                    runs: vec![Vec::new(); self.columns.len()],
                });
            }
        }
        let Place::At(index) = *place else { return None };
        let site = &mut self.sites[index];
        site.arrivals += 1;
        if site.arrivals > self.points.max_visits {
            return None;
        }
        site.visits += 1;
        Some(index)
    }

    /// Notes that SP and the frame pointer are on different stacks.
    pub(super) fn splits(&mut self, site: usize) {
        if let Some(site) = self.sites.get_mut(site) {
            site.split = true;
        }
    }

    /// Whether this is a call of a trampoline that never returns, which a trace may leave out: it made room for an address.
    pub(super) fn is_gone(&self, activation: &Activation) -> bool {
        let Points { omissible, never_resumes, .. } = self.points;
        let function = activation.place().function(&self.prepared.guest.symbols);
        function.is_some_and(|it| omissible.contains(&it.name) && never_resumes.contains(&it.name))
    }

    /// Notes where the youngest displaced return address is at a site's last arrival.
    pub(super) fn locates(&mut self, site: usize, found: &Whereabouts, truth: &Truth) {
        let guest = &self.prepared.guest;
        let Some(Site { pc, visits, addresses, .. }) = self.sites.get_mut(site) else { return };
        let here = guest.symbols.function_at(*pc);
        let younger =
            truth.activations().take(found.index).map(|activation| activation.place().function(&guest.symbols));
        let trampoline = [here].into_iter().chain(younger).flatten().find_map(|function| trampoline(&function.name));
        let (places, lost, visit) = (found.describe(guest.arch), found.is_lost(), *visits);
        let now = Displaced { places, lost, trampoline, first: visit, last: visit };
        match addresses.last_mut() {
            Some(run) if run.last + 1 == visit && (Displaced { first: visit, last: visit, ..run.clone() }) == now => {
                run.last = visit;
            }
            _ => addresses.push(now),
        }
    }

    /// The last arrival at a site was no point after all.
    pub(super) fn forget(&mut self, site: usize) {
        let Site { visits, addresses, .. } = &mut self.sites[site];
        if let Some(run) = addresses.last_mut().filter(|run| run.last == *visits) {
            run.last -= 1;
            if run.last < run.first {
                addresses.pop();
            }
        }
        *visits -= 1;
    }

    /// Counts one more walk at a site where there are many to an arrival.
    pub(super) fn arrive_again(&mut self, site: usize) {
        self.sites[site].visits += 1;
    }

    /// The number of a site's last arrival.
    pub(super) fn visit(&self, site: usize) -> u64 {
        self.sites.get(site).map_or(0, |site| site.visits)
    }

    /// Tells how the machine stands at a site's last arrival, if that is the point that was asked for.
    pub(super) fn tell_machine(&mut self, site: usize, at: &Interrupt<'_>) {
        let Some(&Site { pc, visits, .. }) = self.sites.get(site) else { return };
        if let Some(teller) = self.teller.as_mut().filter(|teller| teller.wants(pc, visits)) {
            teller.machine(self.prepared, at);
        }
    }

    /// [`Recorder::judge`] for every column.
    pub(super) fn judge_all(&mut self, at: Arrival, start: Frame, target: &Live<'_>, truth: &Truth) {
        for column in 0..self.columns.len() {
            self.judge(column, at, start, target, truth);
        }
    }

    /// Walks with one column's subject, judges, and remembers the verdict for a site's last arrival.
    pub(super) fn judge(&mut self, column: usize, at: Arrival, start: Frame, target: &Live<'_>, truth: &Truth) {
        self.judge_at(column, at, self.visit(at.site), start, target, truth);
    }

    /// [`Recorder::judge`] for an arrival that need not be the last one.
    pub(super) fn judge_at(
        &mut self,
        column: usize,
        at: Arrival,
        visit: u64,
        start: Frame,
        target: &Live<'_>,
        truth: &Truth,
    ) {
        let Arrival { site, reachable } = at;
        let subject = self.columns[column].subject;
        let trial = Trial { subject, prepared: self.prepared, omissible: self.points.omissible };
        target.strayed.set(false);
        let verdict = trial.run(start, target, truth, &mut self.buffer);
        self.strays[column] += u64::from(target.strayed.get() && !subject.roams);
        let Site { pc, runs, .. } = &mut self.sites[site];
        if let Some(teller) = self.teller.as_mut().filter(|teller| teller.wants(*pc, visit)) {
            teller.walk(&self.columns[column].label(), &trial, start, target, truth);
        }
        match runs[column].last_mut() {
            Some(run) if (run.verdict, run.reachable, run.last + 1) == (verdict, reachable, visit) => {
                run.last = visit;
                return;
            }
            _ => runs[column].push(Run { verdict, reachable, first: visit, last: visit }),
        }
        if verdict != Verdict::Exact {
            let symbols = &self.prepared.guest.symbols;
            self.firsts.entry((column, *pc, verdict, reachable)).or_insert_with(|| First {
                visit,
                within: self.within.clone(),
                expected: truth.activations().map(|activation| activation.place().name(symbols)).collect(),
                got: trial.walk(start, target, &mut self.buffer).frames[1..]
                    .iter()
                    .map(|frame| symbols.name_of(frame.pc))
                    .collect(),
            });
        }
    }

    /// The plain data of the finished run; the truth's own part of it is still to be filled in.
    pub(super) fn finish(mut self, scenario: &Scenario, variant: &Variant, kind: Kind) -> Section {
        self.sites.sort_by_key(|site| site.pc);
        let subjects = self.columns.iter().enumerate().map(|(index, column)| {
            let mut counters = Counters::default();
            for run in self.sites.iter().flat_map(|site| &site.runs[index]) {
                counters.add(run.verdict, run.reachable, run.last - run.first + 1);
            }
            SubjectResult {
                claims: column.subject.unwinder.claims(),
                inside: column.subject.unwinder.fix(),
                name: column.subject.name.clone(),
                start: column.start,
                counters,
                strays: self.strays[index],
            }
        });
        let mut section = Section {
            scenario: scenario.name.clone(),
            variant: (!variant.name.is_empty()).then(|| variant.name.clone()),
            interrupt: kind.name(),
            points: self.sites.iter().map(|site| site.visits).sum(),
            distinct_pcs: self.sites.iter().filter(|site| site.visits > 0).count(),
            outer: None,
            unwitnessed: Vec::new(),
            void_is_meant: false,
            void: None,
            claims: scenario.text.claims.clone(),
            rewriter: scenario.rewriter(variant),
            subjects: subjects.collect(),
            functions: functions(self.prepared, &self.sites),
            findings: Vec::new(),
            broken: Vec::new(),
        };
        section.findings = findings(&section, &self.firsts, &self.prepared.guest);
        section
    }
}

/// The listings of the functions in which something was judged.
fn functions(prepared: &Prepared, sites: &[Site]) -> Vec<Function> {
    let symbols = &prepared.guest.symbols;
    let mut functions: Vec<Function> = Vec::new();
    for function in symbols.functions() {
        let range = function.address..function.address + function.size;
        if !sites.iter().any(|site| range.contains(&site.pc)) {
            continue;
        }
        let instructions = prepared.listing.range(range).map(|line| {
            let site = sites.binary_search_by_key(&line.address, |site| site.pc).ok().map(|index| &sites[index]);
            Instruction {
                offset: line.address - function.address,
                text: line.text.clone(),
                visits: site.map_or(0, |site| site.arrivals.max(site.visits)),
                split: site.is_some_and(|site| site.split),
                addresses: site.map(|site| site.addresses.clone()).unwrap_or_default(),
                runs: site.map(|site| site.runs.clone()).unwrap_or_default(),
            }
        });
        functions.push(Function { name: function.name.clone(), instructions: instructions.collect() });
    }
    functions
}

/// Groups what is not exact: neighbouring instructions of a function with the same verdict of the same subject.
fn findings(section: &Section, firsts: &BTreeMap<(usize, u64, Verdict, bool), First>, guest: &Guest) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (index, subject) in section.subjects.iter().enumerate() {
        for function in &section.functions {
            let address = guest.symbols.function_named(&function.name).map_or(0, |symbol| symbol.address);
            // Findings that the instruction before was part of, by verdict.
            let mut open: BTreeMap<(Verdict, bool), usize> = BTreeMap::new();
            for instruction in &function.instructions {
                let mut here: BTreeMap<(Verdict, bool), u64> = BTreeMap::new();
                for run in instruction.runs.get(index).into_iter().flatten().filter(|run| run.verdict != Verdict::Exact)
                {
                    *here.entry((run.verdict, run.reachable)).or_default() += run.last - run.first + 1;
                }
                let mut still_open = BTreeMap::new();
                for (key, count) in here {
                    let (verdict, reachable) = key;
                    let finding = *open.entry(key).or_insert_with(|| {
                        let first = firsts.get(&(index, address + instruction.offset, verdict, reachable));
                        findings.push(Finding {
                            subject: subject.name.clone(),
                            start: subject.start,
                            verdict,
                            reachable,
                            function: function.name.clone(),
                            first_offset: instruction.offset,
                            last_offset: instruction.offset,
                            count: 0,
                            visit: first.map_or(1, |first| first.visit),
                            within: first.and_then(|first| first.within.clone()),
                            expected: first.map(|first| first.expected.clone()).unwrap_or_default(),
                            got: first.map(|first| first.got.clone()).unwrap_or_default(),
                        });
                        findings.len() - 1
                    });
                    findings[finding].last_offset = instruction.offset;
                    findings[finding].count += count;
                    still_open.insert(key, finding);
                }
                open = still_open;
            }
        }
    }
    findings
}

//! Every point of a run, every subject at each: truth, walk, verdict, record.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use kunwind::{CodeAddress, Frame, Regs, Source, StackBounds, Walk, WalkState};

use crate::Error;
use crate::guest::{CodeMap, Guest, Symbol};
use crate::layout::{Layout, Poison};
use crate::listing::Listing;
use crate::machine::{Interrupt, Machine, Observer, RegisterSet};
use crate::oracle::{Oracle, Truth, Witnesses};
use crate::report::{Counters, Finding, Function, Instruction, Section, SubjectResult};
use crate::scenario::{Kind, Scenario, Variant};
use crate::subject::{Live, Subject};
use crate::verdict::{Rules, Verdict};

/// How many entries a trace may have. Deeper than any guest's stack, so that a full buffer means a walk gone wild.
pub const MAX_FRAMES: usize = 512;

/// A guest that is ready to run, with everything that is made of it once.
#[derive(Debug)]
pub struct Prepared {
    /// The guest.
    pub guest: Guest,
    /// Its disassembly.
    pub listing: Listing,
    /// Where its stacks lie.
    pub layout: Layout,
    /// What they are filled with.
    pub poison: Poison,
    /// Their bounds alone, for walks.
    pub bounds: Vec<StackBounds>,
}

impl Prepared {
    /// Loads the guest of a scenario's variant.
    ///
    /// # Errors
    ///
    /// As [`Guest::load`], [`Listing::new`] and [`Layout::new`].
    pub fn load(root: &Path, scenario: &Scenario, variant: &Variant) -> Result<Self, Error> {
        let guest = Guest::load(&scenario.guest_path(root, variant), scenario.arch)?;
        Self::new(guest, &variant.stacks, variant.cfa_mod32)
    }

    /// Prepares a loaded guest.
    ///
    /// # Errors
    ///
    /// As [`Listing::new`] and [`Layout::new`].
    pub fn new(guest: Guest, stacks: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        let listing = Listing::new(&guest)?;
        let layout = Layout::new(&guest, stacks, cfa_mod32)?;
        let poison = Poison::new(&listing, &layout.stacks);
        let bounds = layout.stacks.iter().map(|stack| stack.bounds).collect();
        Ok(Self { guest, listing, layout, poison, bounds })
    }

    /// An oracle for one run of the guest.
    #[must_use]
    pub fn oracle(&self, witnesses: Witnesses) -> Oracle<'_> {
        Oracle::new(&self.guest, &self.layout, &self.poison, witnesses)
    }

    /// A machine for one run of the guest.
    ///
    /// # Errors
    ///
    /// As [`Machine::new`].
    pub fn machine(&self, entry: &str) -> Result<Machine<'_>, Error> {
        Machine::new(&self.guest, entry, &self.layout, &self.poison)
    }
}

/// One subject at one point of a guest: walks and judges.
pub struct Trial<'a> {
    /// Who walks.
    pub subject: &'a Subject,
    /// Through which guest.
    pub prepared: &'a Prepared,
    /// Functions that a trace may leave out.
    pub omissible: &'a [String],
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Trial").field("subject", &self.subject.name).finish_non_exhaustive()
    }
}

impl Trial<'_> {
    /// Judges a walk by the truth.
    #[must_use]
    pub fn judge(&self, truth: &Truth, walk: &Walk<'_>) -> Verdict {
        self.with_rules(|rules| rules.judge(truth, walk))
    }

    /// Walks and judges. Most walks are judged as they go, and not kept.
    fn run(&self, start: Frame, target: &Live<'_>, truth: &Truth, buffer: &mut [Frame]) -> Verdict {
        let followed = self.with_rules(|rules| {
            let mut follower = rules.follow(truth);
            let mut is_start = true;
            let mut is_followed = true;
            let mut state = WalkState::new(target.stacks);
            let (end, claim) = kunwind::walk_each(&*self.subject.unwinder, start, target, &mut state, |frame| {
                is_followed = std::mem::take(&mut is_start) || follower.takes(frame);
                if is_followed { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            is_followed.then(|| follower.verdict(end, claim))
        });
        followed.unwrap_or_else(|| self.judge(truth, &self.walk(start, target, buffer)))
    }

    /// Walks into the buffer. The guest stands still, so it is the same walk each time.
    fn walk<'b>(&self, start: Frame, target: &Live<'_>, buffer: &'b mut [Frame]) -> Walk<'b> {
        kunwind::walk(&*self.subject.unwinder, start, target, &mut WalkState::new(target.stacks), buffer)
    }

    fn with_rules<T>(&self, work: impl FnOnce(&Rules<'_>) -> T) -> T {
        let guest = &self.prepared.guest;
        let omissible = |resume: u64| {
            let is_listed = |function: &Symbol| self.omissible.contains(&function.name);
            !self.omissible.is_empty() && guest.symbols.function_at(resume.wrapping_sub(1)).is_some_and(is_listed)
        };
        work(&Rules {
            compares: self.subject.compares,
            sp: guest.arch.sp(),
            fp: guest.arch.abi().fp,
            callee_saved: guest.arch.callee_saved(),
            omissible: &omissible,
        })
    }
}

/// Which points of a run are judged.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// The functions; empty: all.
    pub within: &'a [String],
    /// How many arrivals at one instruction.
    pub max_visits: u64,
    /// Functions that a trace may leave out.
    pub omissible: &'a [String],
}

/// Arrivals in a row with one verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The verdict.
    pub verdict: Verdict,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}

/// One instruction that ran and was a point.
#[derive(Debug, Clone)]
struct Site {
    pc: u64,
    visits: u64,
    /// For each subject.
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
    expected: Vec<String>,
    got: Vec<String>,
}

/// Watches a run and judges every subject at every point. What it keeps grows with the code and with what is found, not
/// with the number of points.
pub struct Sweep<'p> {
    prepared: &'p Prepared,
    subjects: &'p [Subject],
    points: Points<'p>,
    oracle: Oracle<'p>,
    registers: RegisterSet,
    places: CodeMap<Place>,
    sites: Vec<Site>,
    firsts: BTreeMap<(usize, u64, Verdict), First>,
    buffer: Vec<Frame>,
}

impl std::fmt::Debug for Sweep<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sweep").field("guest", &self.prepared.guest.name).finish_non_exhaustive()
    }
}

impl<'p> Sweep<'p> {
    /// A sweep over one run.
    #[must_use]
    pub fn new(prepared: &'p Prepared, subjects: &'p [Subject], points: Points<'p>, witnesses: Witnesses) -> Self {
        let needed = subjects.iter().flat_map(|subject| subject.registers.iter().copied());
        let nothing = Frame { pc: CodeAddress::Interrupted(0), regs: Regs::none(), source: Source::Start };
        Self {
            prepared,
            subjects,
            points,
            oracle: prepared.oracle(witnesses),
            registers: RegisterSet::new(prepared.guest.arch, needed),
            places: CodeMap::new(&prepared.guest, Place::Unseen),
            sites: Vec::new(),
            firsts: BTreeMap::new(),
            buffer: vec![nothing; MAX_FRAMES],
        }
    }

    /// The site of an instruction that is a point.
    fn site(&mut self, pc: u64) -> Option<usize> {
        let place = self.places.get_mut(pc)?;
        if *place == Place::Unseen {
            let function = self.prepared.guest.symbols.function_at(pc);
            let is_within = function
                .is_some_and(|function| self.points.within.is_empty() || self.points.within.contains(&function.name));
            *place = if is_within { Place::At(self.sites.len()) } else { Place::Outside };
            if is_within {
                self.sites.push(Site { pc, visits: 0, runs: vec![Vec::new(); self.subjects.len()] });
            }
        }
        match *place {
            Place::At(index) => Some(index),
            Place::Unseen | Place::Outside => None,
        }
    }

    fn judge_all(&mut self, at: &Interrupt<'_>, site: usize) {
        let truth = self.oracle.truth();
        let site = &mut self.sites[site];
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        let start = Frame { pc: CodeAddress::Interrupted(at.pc), regs, source: Source::Start };
        let target = Live { memory: at.memory, stacks: &self.prepared.bounds };
        for (index, (subject, runs)) in self.subjects.iter().zip(&mut site.runs).enumerate() {
            let trial = Trial { subject, prepared: self.prepared, omissible: self.points.omissible };
            let verdict = trial.run(start, &target, truth, &mut self.buffer);
            match runs.last_mut() {
                Some(run) if run.verdict == verdict => {
                    run.last = site.visits;
                    continue;
                }
                _ => runs.push(Run { verdict, first: site.visits, last: site.visits }),
            }
            if verdict != Verdict::Exact {
                let name = |address| self.prepared.guest.symbols.name_of_return(address);
                self.firsts.entry((index, at.pc, verdict)).or_insert_with(|| First {
                    visit: site.visits,
                    expected: truth.activations().map(|activation| name(activation.resume)).collect(),
                    got: trial.walk(start, &target, &mut self.buffer).frames[1..]
                        .iter()
                        .map(|frame| name(frame.pc.value()))
                        .collect(),
                });
            }
        }
    }

    /// The plain data of the finished run.
    #[must_use]
    pub fn finish(mut self, scenario: &Scenario, variant: &Variant, kind: Kind) -> Section {
        let guest = &self.prepared.guest;
        self.sites.sort_by_key(|site| site.pc);
        let testimony = self.oracle.finish(&scenario.text.never_resumes);
        let name_of = |(place, count): &(u64, usize)| (guest.symbols.name_of_return(*place), *count);
        let judged: u64 = self.sites.iter().map(|site| site.visits.min(self.points.max_visits)).sum();
        let subjects = self.subjects.iter().enumerate().map(|(index, subject)| {
            let mut counters = Counters::default();
            for run in self.sites.iter().flat_map(|site| &site.runs[index]) {
                counters.add(run.verdict, run.last - run.first + 1);
            }
            SubjectResult { name: subject.name.clone(), counters }
        });
        let mut section = Section {
            scenario: scenario.name.clone(),
            variant: (!variant.name.is_empty()).then(|| variant.name.clone()),
            interrupt: kind.name(),
            points: judged,
            distinct_pcs: self.sites.len(),
            unwitnessed: testimony.unwitnessed.iter().map(name_of).collect(),
            void_is_meant: testimony.contradiction.as_ref().is_some_and(|reason| scenario.means_void(reason)),
            void: testimony.contradiction,
            claims: scenario.text.claims.clone(),
            subjects: subjects.collect(),
            functions: functions(self.prepared, &self.sites),
            findings: Vec::new(),
            broken: Vec::new(),
        };
        section.findings = findings(&section, &self.firsts, guest);
        section
    }
}

impl Observer for Sweep<'_> {
    fn interrupted(&mut self, at: &Interrupt<'_>) -> ControlFlow<()> {
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return ControlFlow::Break(());
        }
        if let Some(site) = self.site(at.pc) {
            self.sites[site].visits += 1;
            if self.sites[site].visits <= self.points.max_visits {
                self.judge_all(at, site);
            }
        }
        ControlFlow::Continue(())
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
                visits: site.map_or(0, |site| site.visits),
                runs: site.map(|site| site.runs.clone()).unwrap_or_default(),
            }
        });
        functions.push(Function { name: function.name.clone(), instructions: instructions.collect() });
    }
    functions
}

/// Groups what is not exact: neighbouring instructions of a function with the same verdict of the same subject.
fn findings(section: &Section, firsts: &BTreeMap<(usize, u64, Verdict), First>, guest: &Guest) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (index, subject) in section.subjects.iter().enumerate() {
        for function in &section.functions {
            let address = guest.symbols.function_named(&function.name).map_or(0, |symbol| symbol.address);
            // Findings that the instruction before was part of, by verdict.
            let mut open: BTreeMap<Verdict, usize> = BTreeMap::new();
            for instruction in &function.instructions {
                let mut here: BTreeMap<Verdict, u64> = BTreeMap::new();
                for run in instruction.runs.get(index).into_iter().flatten().filter(|run| run.verdict != Verdict::Exact)
                {
                    *here.entry(run.verdict).or_default() += run.last - run.first + 1;
                }
                let mut still_open = BTreeMap::new();
                for (verdict, count) in here {
                    let finding = *open.entry(verdict).or_insert_with(|| {
                        let first = firsts.get(&(index, address + instruction.offset, verdict));
                        findings.push(Finding {
                            subject: subject.name.clone(),
                            start: "live",
                            verdict,
                            function: function.name.clone(),
                            first_offset: instruction.offset,
                            last_offset: instruction.offset,
                            count: 0,
                            visit: first.map_or(1, |first| first.visit),
                            expected: first.map(|first| first.expected.clone()).unwrap_or_default(),
                            got: first.map(|first| first.got.clone()).unwrap_or_default(),
                        });
                        findings.len() - 1
                    });
                    findings[finding].last_offset = instruction.offset;
                    findings[finding].count += count;
                    still_open.insert(verdict, finding);
                }
                open = still_open;
            }
        }
    }
    findings
}

/// Runs one variant of a scenario, interrupted in one way, and judges the subjects at every point.
///
/// # Errors
///
/// Whatever keeps the guest from being loaded or from running to its end. A void run is not an error but a section that says
/// so.
pub fn run(
    root: &Path,
    scenario: &Scenario,
    variant: &Variant,
    kind: Kind,
    subjects: &[Subject],
) -> Result<Section, Error> {
    run_with(root, scenario, variant, kind, subjects, Witnesses::default())
}

/// Like [`run`], with other witnesses: to show that wrong ones void the run.
///
/// # Errors
///
/// As [`run`].
pub fn run_with(
    root: &Path,
    scenario: &Scenario,
    variant: &Variant,
    kind: Kind,
    subjects: &[Subject],
    witnesses: Witnesses,
) -> Result<Section, Error> {
    let prepared = Prepared::load(root, scenario, variant)?;
    for name in scenario.text.within.iter().chain(&scenario.text.omissible).chain(&scenario.text.never_resumes) {
        prepared.guest.function(name)?;
    }
    let text = &scenario.text;
    let points = Points { within: &text.within, max_visits: text.max_visits, omissible: &text.omissible };
    let mut sweep = Sweep::new(&prepared, subjects, points, witnesses);
    prepared.machine(&text.entry)?.run(&mut sweep, text.budget)?;
    Ok(sweep.finish(scenario, variant, kind))
}

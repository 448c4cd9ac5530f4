//! One undisturbed run in which every table is asked before each instruction.

use std::collections::BTreeMap;

use kunwind::{Entry, Rule, Table};

use super::FORMATS;
use super::judge::{Judgement, judge};
use super::leaf::is_frameless;
use crate::cpu::{Linkage, Register, Regs};
use crate::guest::conventions::TaskPlace;
use crate::guest::{Program, Symbol};
use crate::oracle::{Activation, Oracle, Witnesses};
use crate::recording::rows::{Agreement, FunctionRows, Leaf, Part, PartResult, TableResult, Wrong};
use crate::scenario::Text;
use crate::subject::GuestTarget;
use crate::trace::{Action, Ended, Memory, Observer, Point, RegisterSet};

/// A table's entry for one instruction, and how it was judged.
#[derive(Debug, Default)]
struct Asked {
    entry: Option<Entry>,
    judged: [bool; Part::ALL.len()],
    wrong: [Option<String>; Part::ALL.len()],
}

impl Asked {
    fn note(&mut self, judgement: Judgement) {
        for (part, outcome) in judgement.into_iter().enumerate() {
            self.judged[part] |= outcome.is_some();
            if let Some(Err(detail)) = outcome {
                self.wrong[part].get_or_insert(detail);
            }
        }
    }
}

/// An instruction.
#[derive(Debug)]
struct Site {
    points: u64,
    /// In the order of [`FORMATS`].
    asked: [Asked; FORMATS.len()],
}

/// Watches a run and judges rows.
pub(super) struct Run<'p> {
    program: &'p Program,
    oracle: Oracle<'p>,
    /// The registers that rows name.
    registers: RegisterSet,
    /// All tasks.
    tasks: &'p [TaskPlace],
    /// Functions that the scenario declares omissible and never to resume, because live patching has redirected their calls.
    /// The caller is then the function that called them.
    gone: Vec<&'p Symbol>,
    /// By address.
    sites: BTreeMap<u64, Site>,
}

impl<'p> Run<'p> {
    pub(super) fn new(program: &'p Program, text: &Text, witnesses: Witnesses) -> Self {
        let entry = |table: &dyn Table, address| table.entry(address).ok().flatten().filter(is_said);
        let asked = |address: u64| {
            let of = |format| program.tables.get(format).and_then(|table| entry(table, address));
            FORMATS.map(|format| Asked { entry: of(format), ..Asked::default() })
        };
        let lines = program.listing.lines();
        let sites: BTreeMap<u64, Site> =
            lines.map(|line| (line.address, Site { points: 0, asked: asked(line.address) })).collect();
        let is_gone =
            |function: &&Symbol| text.omissible.contains(&function.name) && text.never_resumes.contains(&function.name);
        let abi = program.guest.cpu.abi;
        let mut named: Vec<Register> = [abi.sp, abi.fp].into_iter().chain(abi.ra).collect();
        let entries = sites.values().flat_map(|site| &site.asked).filter_map(|asked| asked.entry.as_ref());
        named.extend(entries.flat_map(registers_of));
        named.sort_unstable();
        named.dedup();
        Self {
            program,
            oracle: Oracle::new(program, witnesses),
            registers: RegisterSet::new(program.guest.cpu, named),
            tasks: program.conventions.kernel.as_ref().map_or(&[], |kernel| &kernel.tasks),
            gone: program.guest.symbols.functions().iter().filter(is_gone).collect(),
            sites,
        }
    }

    /// Whether a task switch is half done: SP is already on the stack of a task that is not yet the running one. SP and the
    /// truth do not belong together then.
    fn is_between_tasks(&self, memory: &dyn Memory, sp: u64) -> bool {
        let read = |address| memory.read_u64(address);
        let others = self.tasks.iter().filter(|task| task.address != self.oracle.task());
        others
            .filter_map(|task| self.program.conventions.task_stack(task.address, &read))
            .any(|stack| (stack.low..stack.high).contains(&sp))
    }

    /// Why the run is void, and what was found.
    pub(super) fn finish(self, never_resumes: &[String], ended: Ended) -> (Option<String>, Vec<FunctionRows>) {
        let Self { program, oracle, sites, .. } = self;
        let void = oracle.testimony(never_resumes, ended).contradiction;
        let functions = program.guest.symbols.functions().iter();
        let of_function = |function: &Symbol| {
            let range = function.address..function.address + function.size;
            let sites: Vec<(u64, &Site)> =
                sites.range(range).map(|(address, site)| (address - function.address, site)).collect();
            self::function(program, function, &sites)
        };
        (void, functions.filter(|function| function.size > 0).map(of_function).collect())
    }
}

/// Whether an entry describes its instruction.
fn is_said(entry: &Entry) -> bool {
    !matches!(entry, Entry::NoRow { .. })
}

/// The registers that an entry names.
fn registers_of(entry: &Entry) -> Vec<Register> {
    let Entry::Row(row) = entry else { return Vec::new() };
    let of_rule = |rule| match rule {
        Rule::RegOffset(register, _) | Rule::RegOffsetDeref(register, _) => Some(register),
        Rule::Retain | Rule::CfaOffset(_) | Rule::CfaOffsetDeref(_) => None,
    };
    [Some(row.cfa.register()), of_rule(row.ra), of_rule(row.fp)].into_iter().flatten().collect()
}

impl Observer for Run<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return Action::Stop;
        }
        let cpu = self.program.guest.cpu;
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        let sp = regs.get(cpu.sp).unwrap_or_default();
        let is_between_tasks = self.is_between_tasks(at.memory, sp);
        let Some(site) = self.sites.get_mut(&at.pc) else { return Action::Continue };
        site.points += 1;
        if is_between_tasks {
            return Action::Continue;
        }
        let live = GuestTarget::new(self.program, at.memory, &self.program.bounds, None);
        // An activation that waits on the kernel's stack has not called what runs in user mode.
        let is_caller = |caller: &&Activation| !at.is_user() || caller.stack == self.program.layout.stack_of(sp);
        let is_gone = |activation: &Activation| {
            // It had pushed nothing yet.
            let is_bare = activation.parent.as_ref().is_some_and(|parent| parent.cfa == activation.cfa);
            // Or SP is above the word with its return address, to which no one has returned.
            let is_passed = matches!(cpu.linkage, Linkage::Push) && activation.cfa <= sp;
            let waits = activation.place().function(&self.program.guest.symbols);
            (is_bare || is_passed)
                && waits.is_some_and(|waits| self.gone.iter().any(|function| function.address == waits.address))
        };
        let mut waiting = self.oracle.truth().activations();
        let caller = waiting.find(|activation| !is_gone(activation)).filter(is_caller);
        for asked in &mut site.asked {
            if let Some(entry) = asked.entry {
                asked.note(judge(&entry, &regs, &live, caller));
            }
        }
        Action::Continue
    }
}

fn function(program: &Program, function: &Symbol, sites: &[(u64, &Site)]) -> FunctionRows {
    let tables = FORMATS.iter().enumerate().filter(|(_, format)| program.tables.get(**format).is_some());
    FunctionRows {
        name: function.name.clone(),
        points: sites.iter().map(|(_, site)| site.points).sum(),
        instructions: sites.len(),
        ran: sites.iter().filter(|(_, site)| site.points > 0).count(),
        tables: tables.map(|(index, _)| of_table(program, sites, index)).collect(),
        agreement: agreement(sites),
    }
}

/// The results for the table of this index and one function.
fn of_table(program: &Program, sites: &[(u64, &Site)], index: usize) -> TableResult {
    let asked = || sites.iter().map(|(offset, site)| (*offset, &site.asked[index]));
    let mut parts = [PartResult::default(); Part::ALL.len()];
    let mut wrong = Vec::new();
    for (offset, asked) in asked() {
        for (number, part) in Part::ALL.into_iter().enumerate() {
            parts[number].judged += usize::from(asked.judged[number]);
            match &asked.wrong[number] {
                Some(detail) => wrong.push(Wrong { offset, part, detail: detail.clone() }),
                None => parts[number].right += usize::from(asked.judged[number]),
            }
        }
    }
    let cpu = program.guest.cpu;
    let claims = !sites.is_empty() && asked().all(|(_, asked)| is_frameless(asked.entry.as_ref(), cpu));
    let leaf = match wrong.first() {
        _ if !claims => Leaf::NotClaimed,
        Some(wrong) => Leaf::Refuted(wrong.offset),
        None if parts.iter().all(|part| part.judged == 0) => Leaf::Untested,
        None => Leaf::Holds,
    };
    let covered = asked().filter(|(_, asked)| asked.entry.is_some()).count();
    let [cfa, ra, fp] = parts;
    TableResult { format: FORMATS[index].name().to_owned(), covered, cfa, ra, fp, leaf, wrong }
}

/// Whether all tables agree on a function, at the instructions that two or more of them cover.
fn agreement(sites: &[(u64, &Site)]) -> Agreement {
    let compared = sites.iter().filter_map(|(offset, site)| {
        let said: Vec<&Entry> = site.asked.iter().filter_map(|asked| asked.entry.as_ref()).collect();
        (said.len() > 1).then(|| (*offset, said.windows(2).all(|pair| pair[0] == pair[1])))
    });
    compared.fold(Agreement::None, |so_far, (offset, same)| match so_far {
        Agreement::Differ(_) => so_far,
        _ if same => Agreement::Same,
        _ => Agreement::Differ(offset),
    })
}

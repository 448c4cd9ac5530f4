//! One undisturbed run in which every table is asked before each instruction: about the running function, and about every
//! function that waits for a call to return.

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::FORMATS;
use super::asked::Site;
use super::frames::{Frames, Waiting};
use super::judge::FrameTruth;
use super::levels::Levels;
use super::site;
use crate::cpu::{Linkage, Regs};
use crate::guest::conventions::TaskPlace;
use crate::guest::{Program, Symbol};
use crate::oracle::{Activation, Cause, Clobbered, Oracle, Testimony, Truth, Witnesses};
use crate::recording::rows::{FunctionRows, Level, UnreadData};
use crate::scenario::Text;
use crate::subject::GuestTarget;
use crate::trace::{Action, Ended, Memory, Observer, Point, RegisterSet};

/// Why a row was not judged.
const NO_CALLER: &str = "no call led here: the function was entered by a jump, at the base of its stack";

/// What is written before a deviation in a function that waits for a call to return.
const WAITING: &str = "(while it waits for its call to return) ";

/// How many of the functions that wait are judged at each point, youngest first. Each was the youngest when it made its call, and
/// will be again before it resumes, so that a deep recursion need not be walked to its end every time.
const WAITING_JUDGED: usize = 8;

/// Watches a run and judges rows.
pub(super) struct Run<'p> {
    program: &'p Program,
    oracle: Oracle<'p>,
    frames: Frames,
    registers: RegisterSet,
    red_zone: u64,
    /// All tasks.
    tasks: &'p [TaskPlace],
    /// Functions that the scenario declares omissible and never to resume, because live patching has redirected their calls.
    /// The caller is then the function that called them.
    gone: Vec<&'p Symbol>,
    /// Whether functions that did not run are left out: of somebody's library, most do not.
    only_run: bool,
    /// Of a process: the only functions of interest, by address; none: all.
    within: Vec<Range<u64>>,
    /// The instructions that ran, by address.
    sites: BTreeMap<u64, Site>,
    levels: Levels,
    /// The call instruction before each return address.
    calls: FxHashMap<u64, Option<u64>>,
}

/// The functions of a process that are judged, by address.
fn within(program: &Program, text: &Text) -> Vec<Range<u64>> {
    let names = if program.conventions.is_process { text.within.as_slice() } else { &[] };
    let found = names.iter().filter_map(|name| program.guest.symbols.function_named(name));
    let mut ranges: Vec<Range<u64>> = found.map(|it| it.address..it.address + it.size.max(1)).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// What a finished run has found.
pub(super) struct Found {
    /// Why the run is void, if it is.
    pub(super) void: Option<String>,
    /// The callee-saved register that came back changed, if that is why.
    pub(super) clobbered: Option<Clobbered>,
    /// How often an instruction was about to run.
    pub(super) points: u64,
    /// How many instructions ran.
    pub(super) distinct_pcs: usize,
    pub(super) levels: BTreeMap<String, Level>,
    pub(super) functions: Vec<FunctionRows>,
    pub(super) unread: Vec<UnreadData>,
    pub(super) outside_functions: usize,
}

impl<'p> Run<'p> {
    pub(super) fn new(program: &'p Program, text: &Text, witnesses: Witnesses) -> Self {
        let is_gone =
            |function: &&Symbol| text.omissible.contains(&function.name) && text.never_resumes.contains(&function.name);
        Self {
            program,
            oracle: Oracle::new(program, witnesses),
            frames: Frames::new(program.midway.is_some()),
            registers: RegisterSet::all(program.guest.cpu),
            red_zone: text.red_zone(program),
            tasks: program.conventions.kernel.as_ref().map_or(&[], |kernel| &kernel.tasks),
            gone: program.guest.symbols.functions().iter().filter(is_gone).collect(),
            only_run: text.elf.as_ref().is_some_and(|call| !call.all_functions)
                || text.process.as_ref().is_some_and(|process| !process.all_functions),
            within: within(program, text),
            sites: BTreeMap::new(),
            levels: Levels::new(program),
            calls: FxHashMap::default(),
        }
    }

    /// The truth for code that runs with this SP. While a task switch is half done, SP is already on the stack of a task that is
    /// not yet the running one: then that of the other task.
    fn truth(&self, memory: &dyn Memory, sp: u64) -> Truth {
        let read = |address| memory.read_u64(address);
        let mut others = self.tasks.iter().filter(|task| task.address != self.oracle.task());
        let owner = others.find(|task| {
            let stack = self.program.conventions.task_stack(task.address, &read);
            stack.is_some_and(|stack| (stack.low..stack.high).contains(&sp))
        });
        owner.map_or_else(|| self.oracle.truth().clone(), |task| self.oracle.truth_of(task.address))
    }

    /// What was found.
    pub(super) fn finish(self, never_resumes: &[String], ended: Ended) -> Found {
        let Self { program, oracle, sites, levels, only_run, .. } = self;
        let Testimony { contradiction: void, clobbered, .. } = oracle.testimony(never_resumes, ended);
        let (unread, outside_functions) = site::strays(program, &sites);
        let ran = || sites.values().map(|site| site.points).filter(|points| *points > 0);
        Found {
            void,
            clobbered,
            points: ran().sum(),
            distinct_pcs: ran().count(),
            levels: levels.finish(program),
            functions: site::functions(program, &sites, only_run),
            unread,
            outside_functions,
        }
    }

    /// Whether an activation waits in a function whose calls live patching has redirected, and which is no caller any more.
    /// `sp` is that of the function that asks.
    fn is_gone(&self, activation: &Activation, sp: u64) -> bool {
        // It had pushed nothing yet.
        let is_bare = activation.parent.as_ref().is_some_and(|parent| parent.cfa == activation.cfa);
        // Or SP is above the word with its return address, to which no one has returned.
        let is_passed = matches!(self.program.guest.cpu.linkage, Linkage::Push) && activation.cfa <= sp;
        let waits = activation.place().function(&self.program.guest.symbols);
        (is_bare || is_passed)
            && waits.is_some_and(|waits| self.gone.iter().any(|function| function.address == waits.address))
    }

    /// Whether the unwinder of an exception has put the address of a landing pad where the return address of a call was: what was called
    /// will not return any more.
    fn is_overwritten(&self, memory: &dyn Memory, caller: &Activation) -> bool {
        let pushed = self.program.guest.cpu.linkage.pushed();
        let is_pushed = self.program.conventions.is_process && pushed > 0 && caller.cause == Cause::Call;
        is_pushed && memory.read_u64(caller.cfa.wrapping_sub(pushed)) != Some(caller.resume)
    }

    /// The call before a return address.
    fn call_before(&mut self, resume: u64) -> Option<u64> {
        let program = self.program;
        *self.calls.entry(resume).or_insert_with(|| {
            let function = program.guest.symbols.function_at(resume.wrapping_sub(1))?;
            let lines = program.listing.of(function);
            let after = lines.partition_point(|line| line.address < resume);
            lines[..after].last().map(|line| line.address)
        })
    }

    fn is_of_interest(&self, pc: u64) -> bool {
        let after = self.within.partition_point(|range| range.start <= pc);
        self.within.is_empty() || after > 0 && self.within[after - 1].contains(&pc)
    }

    /// Judges what the tables say of the running function.
    fn judge_running(&mut self, at: &Point<'_>, regs: &Regs) {
        let program = self.program;
        let sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let truth = self.truth(at.memory, sp);
        let target = GuestTarget::new(program, at.memory, &program.bounds, None);
        // An activation that waits on the kernel's stack has not called what runs in user mode.
        let is_caller = |caller: &&Activation| !at.is_user() || caller.stack == program.layout.stack_of(sp);
        let mut waiting = truth.activations();
        let is_known = !program.conventions.is_process || !self.oracle.is_between_strands();
        let caller = waiting.find(|activation| !self.is_gone(activation, sp)).filter(is_caller).filter(|_| is_known);
        let frame = FrameTruth {
            target: &target,
            regs,
            live_from: sp.wrapping_sub(self.red_zone),
            signed: self.frames.signed(),
            is_signing_known: self.frames.is_signing_known(),
            caller,
        };
        let site = self.sites.entry(at.pc).or_insert_with(|| Site::new(program, at.pc));
        site.points += 1;
        site.frame_pointer =
            [site.frame_pointer, frame.by_frame_pointer()].into_iter().flatten().reduce(|all, now| all && now);
        for (index, asked) in site.asked.iter_mut().enumerate() {
            let table = program.tables.get(FORMATS[index]);
            let entry = asked.entry().copied().zip(table);
            let judgement = entry.map(|(entry, table)| frame.judge(table, at.pc, &entry));
            let is_right = self.levels.note(index, &asked.data, judgement.as_ref());
            if table.is_some() && is_known {
                self.levels.walk(index, (at.pc, regs), &target, &truth, is_right);
            }
            if let Some(judgement) = judgement {
                asked.note(judgement, "", NO_CALLER);
            }
        }
    }

    /// Judges what the tables say of the functions that wait, each looked up where an unwinder would: one byte before its
    /// return address, or at the interrupted instruction.
    fn judge_waiting(&mut self, at: &Point<'_>) {
        let program = self.program;
        let target = GuestTarget::new(program, at.memory, &program.bounds, None);
        let truth = self.oracle.truth().clone();
        let mut waiting = truth.activations().peekable();
        for _ in 0..WAITING_JUDGED {
            let Some(activation) = waiting.next() else { break };
            if activation.cause == Cause::Call && self.is_gone(activation, 0) {
                continue;
            }
            // What waits on the kernel's stack has not called a function in user mode.
            let is_user = program.conventions.user_text.iter().any(|text| text.contains(&activation.resume));
            let caller = waiting.peek().copied().filter(|caller| !is_user || caller.stack == activation.stack);
            if caller.is_some_and(|caller| self.is_overwritten(at.memory, caller)) {
                continue;
            }
            let (pc, call) = match activation.cause {
                Cause::Call => (activation.resume.wrapping_sub(1), self.call_before(activation.resume)),
                Cause::Exception | Cause::UserException => (activation.resume, Some(activation.resume)),
            };
            let Some(call) = call else { continue };
            // Functions that have waited since before the first call of their task have no registers.
            let Some(Waiting { regs, signed, is_signing_known }) = self.frames.waiting(activation).copied() else {
                continue;
            };
            let frame = FrameTruth {
                target: &target,
                regs: &regs,
                live_from: activation.cfa.wrapping_sub(self.red_zone),
                signed,
                is_signing_known,
                caller,
            };
            let Some(site) = self.sites.get_mut(&call) else { continue };
            for (format, asked) in FORMATS.into_iter().zip(&mut site.asked) {
                let Some(table) = program.tables.get(format) else { continue };
                if let Ok(Some(entry)) = table.entry(pc) {
                    asked.note(frame.judge(table, pc, &entry), WAITING, NO_CALLER);
                }
            }
        }
    }
}

impl Observer for Run<'_> {
    fn wants_stores(&self) -> bool {
        self.oracle.wants_stores()
    }

    fn stored(&mut self, address: u64, size: usize) {
        self.oracle.stored(address, size);
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.oracle.stored(address, size);
    }

    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return Action::Stop;
        }
        let guest = &self.program.guest;
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        self.frames.follow(guest.cpu, guest, at, &regs, &self.oracle);
        if self.is_of_interest(at.pc) {
            self.judge_running(at, &regs);
        }
        self.judge_waiting(at);
        Action::Continue
    }
}

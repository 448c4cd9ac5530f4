//! Freezing a call that a process makes: the state before its first instruction, and what the kernel answered until it returned.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::{Job, Options, run_all, subjects};
use crate::Error;
use crate::case::{Captured, CapturedPage, Source, State};
use crate::cpu::{Cpu, Register};
use crate::guest::{PAGE, Program, Symbol, WaitingAtStart};
use crate::machine::{Answers, GuestMemory, MappedPage, ProcessMachine};
use crate::oracle::{Activation, Cause, Oracle, Witnesses};
use crate::recording::Recording;
use crate::scenario::{Interruption, Scenario, Traced, Variant};
use crate::trace::{Action, Observer, Point, Previous, RegisterSet, Run as _, Watched};
use crate::user::process::Launch;

/// A frozen call of a process, as a reader of its file finds it.
#[derive(Debug)]
pub struct FrozenCall {
    /// The text of the file.
    pub text: String,
    /// The scenario of the file.
    pub scenario: Scenario,
    /// What its run shows.
    pub recording: Recording,
}

/// Freezes the first call of a function of `within`, from its first instruction until it returns. The file will be at `path`.
///
/// # Errors
///
/// [`Error::Usage`] when there is no such call, or one that a state cannot tell; else as [`run_all`].
pub fn freeze_process(
    scenario: &Scenario,
    process: &Traced,
    path: &Path,
    options: &Options,
) -> Result<FrozenCall, Error> {
    if scenario.text.within.is_empty() {
        let reason = "--freeze keeps one call that a process makes, until it returns: name the function with --within";
        return Err(Error::Usage(reason.to_owned()));
    }
    let variant = &only_variant(scenario)?;
    let program = scenario.program(Path::new(""), variant)?;
    let (captured, trail) = capture(scenario, process, &program, options)?;
    let pages = used(Arc::new(captured.state(path, None)), options)?;
    let text = captured.state(path, Some(&pages)).to_text()?;
    // From here on as a reader of the file.
    let state = Arc::new(State::parse(path, &text)?);
    let scenario = Scenario::of_state(&state)?;
    require_same(&scenario, &trail)?;
    let options = Options { log: false, keep_going: false, ..options.clone() };
    let (recording, _) = run_all(Path::new(""), std::slice::from_ref(&scenario), &options)?;
    Ok(FrozenCall { text, scenario, recording })
}

/// The variant of a process or of a state, which have no others.
fn only_variant(scenario: &Scenario) -> Result<Variant, Error> {
    let variant = scenario.variants().pop();
    variant.ok_or_else(|| Error::Internal(format!("{} has no variant", scenario.name)))
}

/// What ran: a sum of all general registers at each instruction, one for each, so that the first difference can be named.
struct Trail {
    all: RegisterSet,
    steps: Vec<(u64, u64)>,
}

impl Trail {
    fn new(cpu: &Cpu) -> Self {
        Self { all: general(cpu), steps: Vec::new() }
    }
}

impl Observer for Trail {
    fn point(&mut self, at: &Point<'_>) -> Action {
        /// Of FNV-1a (RFC 9923, section 2.2).
        const PRIME: u64 = 0x100_0000_01b3;
        let mut values = vec![0; self.all.registers().len()];
        at.read_values(&self.all, &mut values);
        let sum = values.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, value| (sum ^ value).wrapping_mul(PRIME));
        self.steps.push((at.pc, sum));
        Action::Continue
    }
}

/// The general registers, SP among them. Where DWARF gives pc a number too, it is no register that could be read or set like one.
fn general(cpu: &Cpu) -> RegisterSet {
    RegisterSet::new(cpu, (0..cpu.registers).map(Register).filter(|it| cpu.abi.register_name(*it) != "rip"))
}

/// Follows a process to a call, notes the state, and follows it to the return.
struct Capture<'p> {
    oracle: Oracle<'p>,
    program: &'p Program,
    sp: RegisterSet,
    inside: Vec<Range<u64>>,
    answers: Rc<Answers>,
    begun: Option<Begun>,
    trail: Trail,
    has_returned: bool,
    /// Why a state cannot tell it.
    failure: Option<String>,
}

/// The point at which a state begins.
struct Begun {
    pc: u64,
    thread: u64,
    registers: Vec<(String, u128)>,
    waiting: Vec<WaitingAtStart>,
    stacks: Vec<Range<u64>>,
    contents: BTreeMap<u64, Vec<u8>>,
}

impl Capture<'_> {
    fn begin(&self, at: &Point<'_>) -> Result<Begun, String> {
        if self.oracle.is_void() {
            return Err("the witnesses of the truth contradict each other before it; `run` without --freeze says how"
                .to_owned());
        }
        let layout = &self.program.layout;
        let cpu = self.program.guest.cpu;
        let waiting = self.oracle.truth().activations().map(|activation| match activation.cause {
            Cause::Call => Ok(waits(cpu, activation)),
            _ => Err("it begins in a signal's handler, and a state has calls only".to_owned()),
        });
        let waiting: Vec<WaitingAtStart> = waiting.collect::<Result<_, _>>()?;
        if waiting.is_empty() {
            return Err("nobody waits for it to return, so it would have no end".to_owned());
        }
        let all = &self.trail.all;
        let mut values = vec![0; all.registers().len()];
        at.read_values(all, &mut values);
        let named = all.registers().iter().map(|it| cpu.abi.register_name(*it).to_owned());
        let general = named.zip(values.iter().map(|value| u128::from(*value)));
        let special = at.regs.of_program().into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut sp = [0];
        at.read_values(&self.sp, &mut sp);
        let on = waiting.iter().map(|it| it.cfa).chain(sp).filter_map(|sp| layout.stack_of(sp));
        let on: BTreeSet<usize> = on.collect();
        let stacks = on.into_iter().map(|index| layout.stacks[index].bounds).map(|bounds| bounds.low..bounds.high);
        let memory = at.memory.as_any().and_then(|memory| memory.downcast_ref::<GuestMemory>());
        let mapped = memory.ok_or("its memory cannot be read")?.mapped();
        let mut contents = BTreeMap::new();
        for page in &mapped {
            let mut bytes = vec![0; PAGE as usize];
            if at.memory.read(page.address, &mut bytes) {
                contents.insert(page.address, bytes);
            }
        }
        self.answers.begin(mapped);
        let registers = general.chain(special).collect();
        Ok(Begun { pc: at.pc, thread: at.thread, registers, waiting, stacks: stacks.collect(), contents })
    }

    /// Why a state cannot tell what happens here, if it cannot.
    fn refused(begun: &Begun, at: &Point<'_>) -> Option<&'static str> {
        match at.previous {
            _ if at.thread != begun.thread => Some("another thread runs before it returns, and a state has one"),
            Some(Previous::Delivered { .. }) => Some("a signal arrives before it returns, and a state has none"),
            _ => None,
        }
    }
}

fn waits(cpu: &Cpu, activation: &Activation) -> WaitingAtStart {
    let saved = (0..cpu.callee_saved.len()).map_while(|index| activation.kept(index));
    WaitingAtStart { resume: activation.resume, cfa: activation.cfa, saved: saved.collect() }
}

impl Observer for Capture<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        match &self.begun {
            None if !self.inside.iter().any(|range| range.contains(&at.pc)) => return Action::Continue,
            None => match self.begin(at) {
                Ok(begun) => self.begun = Some(begun),
                Err(reason) => self.failure = Some(reason),
            },
            Some(begun) => {
                let mut sp = [0];
                at.read_values(&self.sp, &mut sp);
                self.failure = Self::refused(begun, at).map(str::to_owned);
                self.has_returned =
                    begun.waiting.first().is_some_and(|caller| (at.pc, sp) == (caller.resume, [caller.cfa]));
            }
        }
        if self.failure.is_some() || self.has_returned {
            return Action::Stop;
        }
        self.trail.point(at)
    }
}

/// Runs the process, and notes the call.
fn capture(
    scenario: &Scenario,
    process: &Traced,
    program: &Program,
    options: &Options,
) -> Result<(Captured, Trail), Error> {
    let cpu = scenario.cpu;
    let symbols = &program.guest.symbols;
    let inside = scenario.text.within.iter().filter_map(|name| symbols.function_named(name));
    let inside = inside.map(|function| function.address..function.address + function.size.max(1)).collect();
    let mut machine = ProcessMachine::new(&process.launch, Some(symbols))?;
    let answers = machine.note_answers();
    let mut seen = Capture {
        oracle: Oracle::new(program, Witnesses::default()),
        program,
        sp: RegisterSet::new(cpu, [cpu.sp]),
        inside,
        answers: Rc::clone(&answers),
        begun: None,
        trail: Trail::new(cpu),
        has_returned: false,
        failure: None,
    };
    let ended = Watched::new(&mut machine, &options.interrupt).drive(&mut seen);
    if ended?.interrupted {
        return Err(Error::Interrupted);
    }
    let place = |begun: &Begun| symbols.name(begun.pc);
    let Capture { begun, trail, has_returned, failure, .. } = seen;
    let what = begun.as_ref().map_or_else(|| scenario.text.within.join(", "), place);
    let refused = |reason: &str| Error::Usage(format!("--freeze {what}: {reason}"));
    if let Some(reason) = failure {
        return Err(refused(&reason));
    }
    let begun = begun.ok_or_else(|| refused("control never comes there"))?;
    if !has_returned {
        return Err(refused("it does not return before the process ends, and a state ends with its return"));
    }
    let stop = begun.waiting.first().map_or(begun.pc, |caller| caller.resume);
    let Begun { pc, registers, waiting, stacks, contents, .. } = begun;
    let captured = Captured {
        cpu,
        pc,
        stop,
        registers,
        stacks,
        waiting,
        answers: answers.answers(),
        pages: pages(&answers, contents),
        symbols: symbols.functions().to_vec(),
        unwind: program.guest.unwind.clone(),
        command: command(process, symbols.function_at(pc)),
        sources: process.files.iter().map(|it| Source { name: it.name.clone(), sha256: it.sha256.clone() }).collect(),
    };
    Ok((captured, trail))
}

/// The command that freezes the first call of this function.
fn command(process: &Traced, function: Option<&Symbol>) -> String {
    let Launch { file, arguments, .. } = &process.launch;
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    let within = function.map_or("", |function| &function.name);
    let arguments: String = arguments.iter().map(|argument| format!(" {argument}")).collect();
    let behind = if arguments.is_empty() { "" } else { " --" };
    format!("unwind-harness run --elf {file} --process --within {within} --freeze FILE{behind}{arguments}")
}

/// All pages that were mapped at some time. Those that came later are zeros until the kernel or the program writes to them.
fn pages(answers: &Answers, mut contents: BTreeMap<u64, Vec<u8>>) -> BTreeMap<u64, CapturedPage> {
    let page = |(mapped, is_new): (MappedPage, bool)| {
        let MappedPage { address, executable, writable } = mapped;
        let bytes = if is_new { Some(vec![0; PAGE as usize]) } else { contents.remove(&address) };
        Some((address, CapturedPage { bytes: bytes?, executable, writable }))
    };
    answers.pages().into_iter().filter_map(page).collect()
}

/// The pages that the run of a state uses, and all that walk in it.
fn used(state: Arc<State>, options: &Options) -> Result<BTreeSet<u64>, Error> {
    let scenario = Scenario::of_state(&state)?;
    let all = subjects(scenario.cpu, &options.unwinders);
    let variant = &only_variant(&scenario)?;
    let job = Job { root: Path::new(""), scenario: &scenario, variant, kind: Interruption::Probe };
    let program = scenario.program(Path::new(""), variant)?;
    let mut pages = BTreeSet::new();
    job.run_noting(&program, &all, options, &mut pages)?;
    Ok(pages)
}

/// Runs the state, and holds every register at every instruction against what the process had there.
fn require_same(scenario: &Scenario, trail: &Trail) -> Result<(), Error> {
    let variant = &only_variant(scenario)?;
    let program = scenario.program(Path::new(""), variant)?;
    let mut again = Trail::new(scenario.cpu);
    scenario.live(&program)?.drive(&mut again)?;
    let same = trail.steps.iter().zip(&again.steps).take_while(|(one, other)| one == other).count();
    if same == trail.steps.len() && same == again.steps.len() {
        return Ok(());
    }
    let at = trail.steps.get(same).or(again.steps.get(same)).map_or(0, |(pc, _)| *pc);
    let place = program.guest.symbols.name(at);
    Err(Error::Internal(format!(
        "the state does not repeat the run of the process: after {same} instructions, at {place}, the registers differ"
    )))
}

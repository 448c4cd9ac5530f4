//! An unwinder in a process of its own, asked through its standard input and output (docs/unwinder-protocol.md). Whatever it does is
//! a walk or the lack of one: it cannot confuse, stop or fill this program.

mod message;
mod process;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kunwind::Target as _;

use super::{About, Claim, Claims, Compares, End, Entry, GuestTarget, Outcome, Question, Scope, Subject};
use crate::Error;
use crate::cpu::{CodeAddress, Cpu, Regs};
use crate::guest::{Guest, Program};

use message::{Answer, Hello, WalkEnd, Walked, Where};
use process::{Budget, Connection};

pub use message::PROTOCOL;
pub(crate) use message::{digits, modules};

/// The most bytes that one request for memory is answered with. A longer one gets a short answer.
const MOST_READ: u64 = 1 << 16;

/// A process may take so many times the limit of a walk until it has said who it is, and for its first walk.
const TO_START: u32 = 10;

/// What an unwinder's process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a walk may take.
    pub time: Duration,
    /// How many bytes a walk may send and receive.
    pub bytes: u64,
    /// How many walks of a run may crash or time out before it is given up: each costs a new process.
    pub failures: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(1), bytes: 4 << 20, failures: 100 }
    }
}

/// How the process of an unwinder is started.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The command as it was given.
    pub command: String,
    words: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// The guests that were told to its processes.
    told: Arc<Mutex<BTreeMap<PathBuf, Lacks>>>,
}

/// Of the sections that an unwinder has asked for, those that a guest has not.
type Lacks = Vec<String>;

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        (&self.words, self.limits) == (&other.words, other.limits)
    }
}

impl Eq for Remote {}

/// What an unwinder's process says of a CPU.
#[derive(Debug)]
pub enum Greeted {
    /// It walks there.
    Walks(Box<RemoteSubject>),
    /// It does not: its name, and why.
    Refuses(String, String),
}

impl Remote {
    /// The process of this command: a program and its arguments, quoted as for a shell; no shell runs.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`], when a quote is open or there is no program.
    pub fn new(command: &str, limits: Limits) -> Result<Self, Error> {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| Error::Usage(format!("{command:?}: no program, or an open quote")))?;
        Ok(Self { command: command.to_owned(), words, limits, told: Arc::default() })
    }

    /// Each section that it has asked for and did not always get: of how many guests it is missing, and how many there were.
    #[must_use]
    pub fn lacked(&self) -> Vec<(String, usize, usize)> {
        // A panic while it was locked was none of the map's.
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |need: &str| told.values().filter(|lacks| lacks.iter().any(|lack| lack == need)).count();
        let counted = message::SECTIONS.iter().map(|need| ((*need).to_owned(), lacks(need), told.len()));
        counted.filter(|(_, missing, _)| *missing > 0).collect()
    }

    /// Notes a guest that was told to a process.
    fn note(&self, program: &Program, needs: &[String]) {
        let lacks = message::lacking(program, needs).into_iter().map(str::to_owned).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(program.guest.path.clone(), lacks);
    }

    /// Starts it, and asks who it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unwinder`], when it cannot be started, or does not answer as the protocol says.
    pub fn start(&self, cpu: &'static Cpu) -> Result<Greeted, Error> {
        let wrong = |reason: String| Error::Unwinder { name: self.command.clone(), reason };
        let (connection, hello) = self.connect(cpu).map_err(|failure| wrong(failure.to_string()))?;
        if let Some(reason) = hello.refuse {
            return Ok(Greeted::Refuses(hello.name, reason));
        }
        if super::all(cpu).iter().any(|other| other.about().name == hello.name) {
            return Err(wrong(format!(
                "it says that it is {}, and an unwinder here has that name: give it another",
                hello.name
            )));
        }
        let about = About {
            claims: hello.claims,
            // It is judged by the registers that it gives, and by no others.
            compares: Compares { cfa: true, fp: true, callee_saved: true },
            scope: match hello.scope {
                Where::Any => Scope::Any,
                Where::Kernel => Scope::Kernel,
                Where::Program => Scope::Program,
            },
            command: Some(self.command.clone()),
            ..About::of_others(hello.name, cpu)
        };
        let state = State { connection: Some(connection), ..State::default() };
        let needs = hello.needs;
        Ok(Greeted::Walks(Box::new(RemoteSubject {
            about,
            remote: self.clone(),
            cpu,
            needs,
            state: Mutex::new(state),
        })))
    }

    fn connect(&self, cpu: &'static Cpu) -> Result<(Connection, Hello), Failure> {
        let mut connection =
            Connection::start(&self.words).map_err(|error| Failure::Crash(format!("it cannot be started: {error}")))?;
        let mut budget = Budget::new(self.limits.time * TO_START, self.limits.bytes);
        connection.send(message::hello(cpu), &mut budget)?;
        let line = connection.line(&mut budget)?;
        match message::parse(&line)? {
            Answer::Hello(hello) => hello.checked().map(|hello| (connection, hello)),
            other => Err(Failure::Crash(format!("it must say hello first, and sent {}", other.name()))),
        }
    }
}

/// Why there is no walk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// The process ended, or sent what is no answer.
    Crash(String),
    /// It used up its time or its bytes.
    Timeout(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crash(reason) => write!(formatter, "crash: {reason}"),
            Self::Timeout(reason) => write!(formatter, "timeout: {reason}"),
        }
    }
}

/// An unwinder in a process of its own.
#[derive(Debug)]
pub struct RemoteSubject {
    about: About,
    remote: Remote,
    cpu: &'static Cpu,
    /// The sections whose contents it wants.
    needs: Vec<String>,
    state: Mutex<State>,
}

/// What changes from walk to walk.
#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// The guest of which the process knows. It is kept, so that none that comes to lie at its address is taken for it.
    told: Option<Arc<Guest>>,
    id: u64,
    /// How many walks have failed, and the last one: where it began, and why. Who asks again is not asked twice.
    failures: u64,
    last: Option<(CodeAddress, Regs, Failure)>,
}

impl RemoteSubject {
    /// Asks for one walk.
    fn ask(&self, state: &mut State, question: &Question<'_>) -> Result<Walked, Failure> {
        let program = question.target.program;
        if state.told.as_ref().is_some_and(|told| !Arc::ptr_eq(told, &program.guest)) {
            state.connection = None; // modules are told once
        }
        let connection = match &mut state.connection {
            Some(connection) => connection,
            none => {
                let (connection, hello) = self.remote.connect(self.cpu)?;
                if hello.name != self.about.name {
                    return Err(Failure::Crash(format!(
                        "it was {}, and now says that it is {}",
                        self.about.name, hello.name
                    )));
                }
                state.told = None;
                none.insert(connection)
            }
        };
        let Limits { time, bytes, .. } = self.remote.limits;
        let mut budget = Budget::new(time, bytes);
        if state.told.is_none() {
            for module in message::modules(program, &self.needs) {
                connection.send(module, &mut Budget::new(time, u64::MAX))?;
            }
            self.remote.note(program, &self.needs);
            state.told = Some(Arc::clone(&program.guest));
            budget = Budget::new(time * TO_START, bytes);
        }
        state.id += 1;
        connection.send(message::point(self.cpu, state.id, question), &mut budget)?;
        loop {
            let line = connection.line(&mut budget)?;
            match message::parse(&line)? {
                Answer::Read { address, size } => {
                    let data = read(question.target, *address, size.min(MOST_READ));
                    connection.send(message::data(&data), &mut budget)?;
                }
                Answer::Walk(walk) if walk.id == state.id => return walk.checked(self.cpu, self.about.claims),
                Answer::Walk(walk) => {
                    return Err(Failure::Crash(format!(
                        "the walk is of point {}, and {} was asked",
                        walk.id, state.id
                    )));
                }
                other @ Answer::Hello(_) => {
                    return Err(Failure::Crash(format!("it sent {} instead of a walk", other.name())));
                }
            }
        }
    }

    /// The walk, or why there is none.
    fn walked(&self, question: &Question<'_>) -> Result<Walked, Failure> {
        // A panic while it was locked was none of the state's.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((pc, regs, failure)) = &state.last
            && (*pc, regs) == (question.pc, question.regs)
        {
            return Err(failure.clone());
        }
        if state.failures >= self.remote.limits.failures {
            return Err(Failure::Crash("not asked: it was given up".to_owned())); // `gave_up` says so of the run
        }
        let walked = self.ask(&mut state, question);
        state.last = None;
        if let Err(failure) = &walked {
            state.connection = None;
            state.failures += 1;
            state.last = Some((question.pc, *question.regs, failure.clone()));
        }
        walked
    }
}

impl Subject for RemoteSubject {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let began = Entry { pc: question.pc, regs: question.regs, source: &"start", progress: None };
        let is_shown = each(&began).is_continue();
        let walked = match self.walked(question) {
            Ok(walked) => walked,
            Err(failure) => {
                question.say(failure.to_string());
                let end = if matches!(failure, Failure::Crash(_)) { End::Crashed } else { End::TimedOut };
                return Outcome { end, claim: Claim::Unreliable };
            }
        };
        question.say(match walked.end {
            _ if !walked.why.is_empty() => walked.why,
            WalkEnd::Outermost => "outermost".to_owned(),
            WalkEnd::Stopped => "stopped".to_owned(),
        });
        let mut frames = walked.frames.iter().filter(|_| is_shown);
        let shown = |(pc, regs): &(u64, Regs)| {
            each(&Entry { pc: CodeAddress::Return(*pc), regs, source: &"said", progress: None })
        };
        let is_full = !is_shown || frames.try_for_each(shown).is_break();
        let claim = match (self.about.claims, walked.end) {
            (Claims::Never, _) => Claim::None,
            _ if is_full => Claim::Unreliable,
            (Claims::Explicit, _) if walked.reliable => Claim::Reliable,
            (Claims::ByEnd | Claims::ByFlag, WalkEnd::Outermost) => Claim::Reliable,
            _ => Claim::Unreliable,
        };
        let end = match walked.end {
            _ if is_full => End::Full,
            WalkEnd::Outermost => End::Outermost,
            WalkEnd::Stopped => End::Stopped,
        };
        Outcome { end, claim }
    }

    fn gave_up(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.remote.limits.failures;
        let (_, _, last) = state.last.as_ref().filter(|_| state.failures >= limit)?;
        Some(format!("given up after {limit} walks that crashed or timed out (--unwinder-failures); the last: {last}"))
    }
}

/// The bytes from an address on, as far as they can be read.
fn read(target: &GuestTarget<'_>, address: u64, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        let Some(at) = address.checked_add(bytes.len() as u64) else { break };
        let Some(word) = target.read_u64(at & !7) else { break };
        let left = (size - bytes.len() as u64) as usize;
        bytes.extend(word.to_le_bytes().into_iter().skip((at & 7) as usize).take(left));
    }
    bytes
}

//! Subjects: whatever can be judged. A subject is asked for a trace at a point and streams its entries. Only `kunwind` knows
//! how one kind of subject walks.

#[cfg(feature = "framehop")]
mod framehop;
#[cfg(feature = "gimli")]
mod gimli;
mod how;
pub mod in_linux;
mod kunwind;
mod own;
mod progress;
pub mod remote;
mod target;
mod way;

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use ::kunwind::{Format, StackBounds};

use crate::cpu::{CodeAddress, Cpu, Register, Regs};
use crate::guest::Program;
use crate::guest::conventions::OwnUnwinder;
use crate::guest::return_hook::{Fix, ReturnHook, together};

pub use self::in_linux::{InLinux, Status};
pub use self::kunwind::KunwindSubject;
pub use how::KeptSource;
pub use own::{CallOwn, OwnCode, OwnForm, OwnFrame, OwnSubject, model_of};
pub use progress::{KeptProgress, Offer, Progress};
pub use target::{GuestTarget, Reads, Touched};
pub use way::Way;

/// How many entries a trace may have where a subject has no limit of its own. Deeper than any guest's stack, so that a trace of
/// this length has gone wild.
pub const MAX_ENTRIES: usize = 512;

/// What a subject is, needs and promises. Columns, blanks and verdict rules derive from it.
#[derive(Debug, Clone)]
pub struct About {
    /// The name in scenarios, reports and on the command line.
    pub name: String,
    /// How it claims that a trace is reliable as a whole.
    pub claims: Claims,
    /// What its traces are judged by, beyond pcs.
    pub compares: Compares,
    /// The registers that it starts with, besides the pc.
    pub registers: Vec<Register>,
    /// How many entries a trace may have. As in the kernel, a buffer is full when its last slot is taken, even if the trace
    /// were complete.
    pub limit: usize,
    /// The guests in which it walks.
    pub scope: Scope,
    /// The unwind data that it needs.
    pub needs: Option<Format>,
    /// Its fix for the windows of `return_to_handler`.
    pub fix: Fix,
    /// Whether it belongs to kernels with frame pointers, or to those without; `None`: to both.
    pub frame_pointers: Option<bool>,
    /// Whether it may read all memory, not only the stacks that it is offered.
    pub may_read_all: bool,
    /// Where it comes from.
    pub status: Status,
    /// What is demanded of it where a scenario says nothing.
    pub gate: Gate,
    /// The command that starts it, if it is a process of its own.
    pub command: Option<String>,
}

/// What is demanded of a subject where a scenario says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// That no walk is unsound.
    #[default]
    Sound,
    /// Nothing: it is new. It runs where it is named, and its score is printed.
    Any,
}

impl Gate {
    /// Whether it is that of a subject which is not new.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        matches!(self, Self::Sound)
    }
}

impl About {
    /// An unwinder of others, of which nothing is demanded: it starts with all registers, reads whatever it likes, and is judged by its
    /// pcs alone.
    pub(crate) fn of_others(name: String, cpu: &Cpu) -> Self {
        Self {
            name,
            claims: Claims::Never,
            compares: Compares { cfa: false, fp: false, callee_saved: false },
            registers: (0..cpu.registers).map(Register).collect(),
            limit: MAX_ENTRIES,
            scope: Scope::Any,
            needs: None,
            fix: Fix::None,
            frame_pointers: None,
            may_read_all: true,
            status: Status::Generic,
            gate: Gate::Any,
            command: None,
        }
    }

    /// Whether it walks in this program with this return hook. `walks_user` says whether walks of a user stack can be
    /// requested.
    #[must_use]
    pub fn fits(&self, program: &Program, hook: Option<&ReturnHook>, walks_user: bool) -> bool {
        let has_tasks = program.conventions.kernel.is_some();
        let own = program.conventions.own_unwinder.as_ref();
        // In a kernel that has its own, only what models that is of interest.
        let is_model = |own: &OwnUnwinder| own.is_modelled && own::is_model(&self.name, program.guest.cpu);
        if own.is_some_and(|own| !(matches!(self.scope, Scope::Own(_)) || is_model(own))) {
            return false;
        }
        let in_scope = match self.scope {
            Scope::Any => true,
            Scope::Kernel => has_tasks,
            Scope::Tracer => hook.is_some_and(|hook| hook.is_tracer() && together(&hook.build, self.fix).is_some()),
            Scope::Program => !has_tasks,
            Scope::Own(form) => own.is_some_and(|own| form.function(own).is_some()),
            Scope::User => !has_tasks || (program.conventions.walk_user().is_some() && walks_user),
        };
        let built = program.conventions.kernel.as_ref().and_then(|kernel| kernel.frame_pointers);
        let is_configured = built.is_none_or(|built| self.frame_pointers.is_none_or(|wanted| wanted == built));
        in_scope && is_configured && self.needs.is_none_or(|format| program.tables.has(format))
    }
}

/// How a subject claims that a trace is reliable as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Claims {
    /// Trace by trace: it reached the end, and flagged no step as doubtful.
    Explicit,
    /// Reaching the end of the chain is the claim.
    ByEnd,
    /// However the walk ended, unless an entry followed a step that it flagged as doubtful.
    ByFlag,
    /// Never: it is meant for people and profilers.
    Never,
}

/// What a trace is judged by beyond pcs, where it gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compares {
    /// The CFA: SP of each entry.
    pub cfa: bool,
    /// The frame pointer.
    pub fp: bool,
    /// All callee-saved registers, the frame pointer included.
    pub callee_saved: bool,
}

/// The guests in which a subject walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In all.
    Any,
    /// Where there is a kernel with tasks: it walks from handlers and of tasks.
    Kernel,
    /// Where the function graph tracer runs in a build with the subject's fix; elsewhere it would behave like its plain form.
    Tracer,
    /// Where there is no kernel: it knows nothing about exceptions.
    Program,
    /// As `Program`, and where a kernel walks user stacks.
    User,
    /// Where the guest carries an unwinder of its own: this is that one.
    Own(OwnForm),
}

/// Something whose traces can be judged.
pub trait Subject: Sync {
    /// What it is, needs and promises.
    fn about(&self) -> &About;

    /// Answers a question: passes each entry of its trace, the start included, to `each`, until the trace ends or `each` breaks.
    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome;

    /// Whether its walks follow from the registers that it starts with, and not from the pc, which it hands on and nothing else.
    fn ignores_pc(&self) -> bool {
        false
    }

    /// How it walks, if others may walk so too.
    fn way(&self) -> Option<Way> {
        None
    }

    /// Why it is no longer asked, if it is not: then a run has not judged it.
    fn gave_up(&self) -> Option<String> {
        None
    }
}

/// What a subject is asked: the trace from here.
#[derive(Debug)]
pub struct Question<'a> {
    /// Where the trace starts.
    pub pc: CodeAddress,
    /// The registers there, as far as the subject may know them.
    pub regs: &'a Regs,
    /// The address of the pt_regs, if the registers come from there.
    pub pt_regs: Option<u64>,
    /// The guest at this point.
    pub target: &'a GuestTarget<'a>,
    /// Receives the reason why the trace ended, in words.
    pub why: Option<&'a RefCell<String>>,
    /// A number that no other question of the run has, where several subjects are asked this one: what they have in common is done once.
    pub number: Option<NonZeroU64>,
}

impl<'a> Question<'a> {
    /// The question of one walk by itself, from registers that are not in pt_regs.
    #[must_use]
    #[inline]
    pub const fn new(pc: CodeAddress, regs: &'a Regs, target: &'a GuestTarget<'a>) -> Self {
        Self { pc, regs, pt_regs: None, target, why: None, number: None }
    }

    /// Says why the trace ended, to whoever wants to know.
    fn say(&self, text: impl Into<String>) {
        if let Some(why) = self.why {
            *why.borrow_mut() = text.into();
        }
    }
}

/// One entry of a trace, while it is shown.
#[derive(Clone, Copy)]
pub struct Entry<'e> {
    /// Where the function was interrupted, or where it will resume.
    pub pc: CodeAddress,
    /// The registers as they will be when the function resumes, as far as the subject knows them; SP is the CFA of the entry
    /// before.
    pub regs: &'e Regs,
    /// How the entry was found; as `{:#}` the rule without its result.
    pub source: &'e dyn fmt::Display,
    /// All that the rest of the walk follows from, besides the guest, if the subject can say it: then the rest need not be walked
    /// again where neither has changed.
    pub progress: Option<Progress<'e>>,
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Entry").field("pc", &self.pc).finish_non_exhaustive()
    }
}

/// How a walk ended, and the subject's claim about it as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Why the trace is not longer.
    pub end: End,
    /// Whether the subject claims that it is reliable.
    pub claim: Claim,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The subject says that the last entry has no caller.
    Outermost,
    /// It could not continue.
    Stopped,
    /// The receiver of the entries took no more.
    Full,
    /// It did not come back: it faulted, panicked, went on without end, or gave something that is no walk.
    Crashed,
    /// As a process of its own, it did not come back within its limit of time or bytes.
    TimedOut,
}

/// A subject's own claim about a trace as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The trace is complete and right.
    Reliable,
    /// It may not be.
    Unreliable,
    /// The subject never claims anything.
    None,
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Reliable => "claimed reliable",
            Self::Unreliable => "flagged unreliable",
            Self::None => "makes no claim",
        })
    }
}

/// Where a walk starts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// From the live registers at the point.
    Live,
    /// In the handler, from its own frame.
    Current,
    /// In the handler, from the pt_regs of the exception.
    Regs,
    /// From the saved context of a task that is switched out.
    Task,
    /// From the user registers in pt_regs, when the kernel is about to return to user mode.
    User,
}

impl Start {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Live, Self::Current, Self::Regs, Self::Task, Self::User];

    /// The name in reports, and after `@` in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Current => "current",
            Self::Regs => "regs",
            Self::Task => "task",
            Self::User => "user",
        }
    }
}

/// A subject's name, with its start unless that is [`Start::Live`].
#[must_use]
pub fn label(subject: &str, start: Start) -> String {
    match start {
        Start::Live => subject.to_owned(),
        start => format!("{subject}@{}", start.name()),
    }
}

/// Whether a text is a subject's name, or its [`label`].
#[must_use]
pub fn is_name_or_label(text: &str, subject: &str, start: Start) -> bool {
    match text.strip_prefix(subject) {
        Some("") => true,
        Some(rest) => start != Start::Live && rest.strip_prefix('@') == Some(start.name()),
        None => false,
    }
}

/// Every subject of a CPU, in the order of columns.
#[must_use]
pub fn all(cpu: &'static Cpu) -> Vec<Box<dyn Subject + Send>> {
    let own = own::all(cpu).into_iter().map(|subject| Box::new(subject) as Box<dyn Subject + Send>);
    let ours = self::kunwind::all(cpu).into_iter().map(|subject| Box::new(subject) as Box<dyn Subject + Send>);
    own.chain(ours).chain(of_crates(cpu)).collect()
}

/// The unwinders of other crates that were compiled in.
fn of_crates(_cpu: &'static Cpu) -> impl Iterator<Item = Box<dyn Subject + Send>> {
    let found: [Option<Box<dyn Subject + Send>>; 2] = [
        #[cfg(feature = "framehop")]
        framehop::FramehopSubject::new(_cpu).map(|subject| Box::new(subject) as Box<dyn Subject + Send>),
        #[cfg(not(feature = "framehop"))]
        None,
        #[cfg(feature = "gimli")]
        Some(Box::new(gimli::GimliSubject::new(_cpu))),
        #[cfg(not(feature = "gimli"))]
        None,
    ];
    found.into_iter().flatten()
}

/// What the unwinder of a crate has been told: of which guest, and what it has made of that. The guest is kept, so that none that comes to
/// lie at its address is taken for it.
#[cfg(any(feature = "framehop", feature = "gimli"))]
type Told<T> = Option<(std::sync::Arc<crate::guest::Guest>, T)>;

/// What was made of this guest; it is made now if the last one was another.
#[cfg(any(feature = "framehop", feature = "gimli"))]
fn told<'t, T>(
    known: &'t mut Told<T>,
    guest: &std::sync::Arc<crate::guest::Guest>,
    make: impl FnOnce(&crate::guest::Guest) -> T,
) -> &'t mut T {
    known.take_if(|(told, _)| !std::sync::Arc::ptr_eq(told, guest));
    &mut known.get_or_insert_with(|| (std::sync::Arc::clone(guest), make(guest))).1
}

/// The stacks that a walk is offered.
pub type Stacks<'a> = &'a [StackBounds];

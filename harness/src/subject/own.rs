//! A kernel's own unwinder as a subject: its compiled code, run on a second engine where the kernel has just called a marker
//! function, in place of that function.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use super::{
    About, Claim, Claims, Compares, End, Entry, Gate, GuestTarget, KunwindSubject, MAX_ENTRIES, Outcome, Question,
    Scope, Status, Subject,
};
use crate::Error;
use crate::cpu::{CodeAddress, Cpu, Regs};
use crate::guest::Program;
use crate::guest::conventions::OwnUnwinder;
use crate::guest::return_hook::Fix;
use crate::machine::{Call, Called, Crash, Instead, Second};
use crate::trace::Memory;

/// How many bytes of instructions a walk may execute. Linux's longest measured walk, a few thousand instructions of ORC's on
/// x86-64, needs a fiftieth of it.
const BUDGET: u64 = 1 << 20;

/// The function of a kernel that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnForm {
    /// `arch_stack_walk_reliable`.
    Reliable,
    /// `arch_stack_walk`.
    BestEffort,
    /// `stack_trace_save_tsk_reliable`.
    SaveReliable,
}

impl OwnForm {
    /// The function's address, in a kernel that has it.
    #[must_use]
    pub const fn function(self, own: &OwnUnwinder) -> Option<u64> {
        match self {
            Self::Reliable => own.reliable,
            Self::BestEffort => own.best_effort,
            Self::SaveReliable => own.save_reliable,
        }
    }

    /// The subject's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Reliable => "linux",
            Self::BestEffort => "linux:best-effort",
            Self::SaveReliable => "linux:task",
        }
    }
}

/// The subject that is our model of a kernel's own unwinder, by its name; `None` if the subject `own` is none, or has no model.
#[must_use]
pub fn model_of(own: &About, cpu: &Cpu) -> Option<&'static str> {
    let Scope::Own(form) = own.scope else { return None };
    match form {
        OwnForm::Reliable | OwnForm::SaveReliable => cpu.models.reliable,
        OwnForm::BestEffort => Some(cpu.models.best_effort),
    }
}

/// Whether the subject of this name is a model of a walk that a kernel has.
pub(super) fn is_model(name: &str, cpu: &Cpu) -> bool {
    cpu.models.reliable == Some(name) || cpu.models.best_effort == name
}

/// Where the kernel has just called a marker function, in whose place its unwinder is called.
#[derive(Clone, Copy)]
pub struct OwnFrame<'a> {
    /// Runs the kernel's code.
    pub code: &'a dyn CallOwn,
    /// The task whose stack is walked, by the address of its structure.
    pub walked: u64,
    /// SP at the marker's first instruction.
    pub sp: u64,
    /// What else the marker was called with.
    pub instead: Instead,
}

impl std::fmt::Debug for OwnFrame<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OwnFrame").field("instead", &self.instead).finish_non_exhaustive()
    }
}

/// What a called function gave, or how it crashed.
type Answered = Result<Called, Crash>;

/// Calls functions of a stopped guest.
pub trait CallOwn {
    /// Calls one, and returns its result and the words that it left at `words` (address, count); what it wrote is undone.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`], when it could not be called. That it does not return is no error but a [`Crash`].
    fn call(&self, memory: &dyn Memory, call: Call<'_>, words: (u64, usize)) -> Result<Answered, Error>;
}

/// Runs a kernel's own code on a second engine, which is made at the first call.
pub struct OwnCode<'p> {
    program: &'p Program,
    second: RefCell<Option<Second<'p>>>,
    /// What was called since the guest has last run, and what it gave: a judge, a recorder and a comparison ask the same.
    answers: RefCell<Vec<Answer>>,
}

/// What a function gave for these arguments.
struct Answer {
    function: u64,
    arguments: Vec<u64>,
    words: Vec<(u64, u64)>,
    given: Answered,
}

impl std::fmt::Debug for OwnCode<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OwnCode").field("guest", &self.program.guest.name).finish_non_exhaustive()
    }
}

impl<'p> OwnCode<'p> {
    /// The code of this program.
    #[must_use]
    pub const fn new(program: &'p Program) -> Self {
        Self { program, second: RefCell::new(None), answers: RefCell::new(Vec::new()) }
    }

    /// The guest has run: what was called before is no answer any more.
    pub fn forget(&self) {
        self.answers.borrow_mut().clear();
    }
}

impl CallOwn for OwnCode<'_> {
    fn call(&self, memory: &dyn Memory, call: Call<'_>, words: (u64, usize)) -> Result<Answered, Error> {
        let is_it = |answer: &&Answer| {
            (answer.function, &*answer.arguments, &*answer.words) == (call.function, call.arguments, call.words)
        };
        if let Some(answer) = self.answers.borrow().iter().find(is_it) {
            return Ok(answer.given.clone());
        }
        let given = self.run(memory, call, words)?;
        let (arguments, words) = (call.arguments.to_vec(), call.words.to_vec());
        self.answers.borrow_mut().push(Answer { function: call.function, arguments, words, given: given.clone() });
        Ok(given)
    }
}

impl OwnCode<'_> {
    fn run(&self, memory: &dyn Memory, call: Call<'_>, words: (u64, usize)) -> Result<Answered, Error> {
        let mut second = self.second.borrow_mut();
        // A copy of a log's memory is of one point only.
        let reused = second.take().filter(Second::is_shared);
        let engine = reused.map_or_else(|| Second::new(self.program, memory), Ok)?;
        second.insert(engine).call(call, words)
    }
}

/// A kernel's own unwinder.
pub struct OwnSubject {
    about: About,
    form: OwnForm,
    cpu: &'static Cpu,
    /// Our model of it, made when it is first asked, which says whether the walk reads below SP: a hook at every load would cost more than the walk.
    model: OnceLock<Option<KunwindSubject>>,
}

impl std::fmt::Debug for OwnSubject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OwnSubject").field("form", &self.form).finish_non_exhaustive()
    }
}

impl OwnSubject {
    /// The unwinder that this function of a kernel is.
    #[must_use]
    pub fn new(form: OwnForm, cpu: &'static Cpu) -> Self {
        let about = About {
            name: form.name().to_owned(),
            claims: if form == OwnForm::BestEffort { Claims::Never } else { Claims::Explicit },
            // It reports pcs and nothing else.
            compares: Compares { cfa: false, fp: false, callee_saved: false },
            registers: Vec::new(),
            limit: MAX_ENTRIES,
            scope: Scope::Own(form),
            needs: None,
            fix: Fix::None,
            frame_pointers: None,
            may_read_all: true,
            status: Status::Mainline,
            gate: Gate::Sound,
            command: None,
        };
        Self { about, form, cpu, model: OnceLock::new() }
    }

    /// Notes in the question's target whether the walk reads below SP, as far as our model of it knows.
    fn note_dead(&self, question: &Question<'_>) {
        let target = question.target;
        if target.dead.is_empty() || target.is_dead_overwritten || target.read_dead.get() {
            return;
        }
        let model = || model_of(&self.about, self.cpu).and_then(|name| super::kunwind::named(self.cpu, name));
        let Some(model) = self.model.get_or_init(model) else { return };
        // A view of its own: what the model reads is not what the kernel has read.
        let view = GuestTarget { reads: None, ..target.with_changed(target.changed) };
        model.walk(&Question { target: &view, why: None, ..*question }, &mut |_| ControlFlow::Continue(()));
        target.read_dead.set(view.read_dead.get());
    }

    /// The result and the entries of the kernel's walk, or how it crashed.
    ///
    /// # Panics
    ///
    /// When it cannot be asked. No verdict says that: the run is then one that was not judged.
    fn ask(&self, question: &Question<'_>) -> Result<(i32, Vec<u64>), Crash> {
        let target = question.target;
        let own = target.program.conventions.own_unwinder.as_ref().expect("it walks where a guest has an unwinder");
        let frame = target.own.expect("it walks where a guest calls a marker");
        let function = self.form.function(own).expect("it walks where a guest has this function");
        let first = own.buffer.start + 8;
        let slots = (own.buffer.end - first) / 8;
        let words: Vec<_> = [(own.buffer.start, first)].into_iter().chain(target.overwritten()).collect();
        let arguments = match self.form {
            OwnForm::Reliable => vec![own.consume, own.buffer.start, frame.walked],
            OwnForm::BestEffort => {
                vec![own.consume, own.buffer.start, frame.walked, question.pt_regs.unwrap_or(0)]
            }
            OwnForm::SaveReliable => vec![frame.walked, first, slots.min(MAX_ENTRIES as u64)],
        };
        let called = frame.code.call(
            target.memory,
            Call {
                function,
                arguments: &arguments,
                sp: frame.sp,
                words: &words,
                instead: Some(frame.instead),
                has_cursor: self.form != OwnForm::SaveReliable,
                budget: BUDGET,
            },
            (own.buffer.start, 1 + MAX_ENTRIES.min(slots as usize)),
        );
        let called = called.unwrap_or_else(|error| panic!("{} cannot be called: {error}", self.form.name()))?;
        let (cursor, entries) = called.words.split_first().map_or((first, &[][..]), |(cursor, rest)| (*cursor, rest));
        let result = called.result as u32 as i32; // an int is the low half of its register
        let count = match self.form {
            OwnForm::SaveReliable => u64::try_from(result).unwrap_or(0),
            OwnForm::Reliable | OwnForm::BestEffort => cursor.saturating_sub(first) / 8,
        };
        Ok((result, entries.iter().copied().take(count as usize).collect()))
    }
}

impl Subject for OwnSubject {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        self.note_dead(question);
        let (result, entries) = match self.ask(question) {
            Ok(walked) => walked,
            Err(crash) => {
                question.say(format!("crash: {crash}"));
                return Outcome { end: End::Crashed, claim: Claim::Unreliable };
            }
        };
        let unknown = Regs::none();
        // A walk of the running task may begin in the function that walks (Linux arch/riscv/kernel/stacktrace.c).
        let symbols = &question.target.program.guest.symbols;
        let walker = question.target.program.conventions.own_unwinder.as_ref().and_then(|own| self.form.function(own));
        let is_walker = |pc: &&u64| symbols.function_at(**pc).map(|function| function.address) == walker;
        let entries = &entries[usize::from(walker.is_some() && entries.first().as_ref().is_some_and(is_walker))..];
        // The start is given. A trace that begins with another pc lacks it.
        let given = entries.first() == Some(&question.pc.value());
        let start = [question.pc].into_iter();
        // A kernel's trace does not say which entries are return addresses. One that is a function's first instruction is none: it was
        // interrupted there, or a return hook put it there.
        let address = |pc: &u64| {
            let begins = symbols.function_at(*pc).is_some_and(|function| function.address == *pc);
            if begins { CodeAddress::Interrupted(*pc) } else { CodeAddress::Return(*pc) }
        };
        let older = entries.iter().skip(usize::from(given)).map(address);
        for pc in start.chain(older) {
            if each(&Entry { pc, regs: &unknown, source: &self.form.name(), progress: None }).is_break() {
                return Outcome { end: End::Full, claim: Claim::Unreliable };
            }
        }
        match self.form {
            OwnForm::BestEffort => Outcome { end: End::Outermost, claim: Claim::None },
            OwnForm::Reliable | OwnForm::SaveReliable if result >= 0 => {
                question.say(format!("returned {result}"));
                Outcome { end: End::Outermost, claim: Claim::Reliable }
            }
            OwnForm::Reliable | OwnForm::SaveReliable => {
                question.say(format!("returned {result}"));
                Outcome { end: End::Stopped, claim: Claim::Unreliable }
            }
        }
    }
}

/// Every form of a kernel's own unwinder, in the order of columns.
pub(super) fn all(cpu: &'static Cpu) -> Vec<OwnSubject> {
    [OwnForm::Reliable, OwnForm::BestEffort, OwnForm::SaveReliable].map(|form| OwnSubject::new(form, cpu)).into()
}

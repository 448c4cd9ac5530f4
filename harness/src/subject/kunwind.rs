//! The unwinders of crate kunwind as subjects.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};

use kunwind::kernel::KernelUnwinder;
use kunwind::sframe::SFrameAbi;
use kunwind::{
    Error, Format, Frame, FrameRecordUnwinder, Source, Step, TableUnwinder, UnwindUser, Unwinder, WalkState,
    check_steps,
};

use super::how::How;
use super::in_linux::{self, Status};
use super::{
    About, Claim, Claims, Compares, End, Entry, Gate, GuestTarget, MAX_ENTRIES, Outcome, Progress, Question, Scope,
    Subject, Way,
};
use crate::cpu::{CodeAddress, Cpu, Register};
use crate::guest::return_hook::Fix;

/// The size of live patching's buffer for a reliable walk: MAX_STACK_ENTRIES in Linux kernel/livepatch/transition.c.
const LIVEPATCH_ENTRIES: usize = 100;
/// In builds with debug assertions, one of so many walks is looked at: whether its steps follow from their arguments alone. No
/// number that a guest's loops or their columns are likely to divide by.
const CHECKED: u32 = 61;

/// An unwinder of kunwind.
pub struct KunwindSubject {
    about: About,
    walker: Walker,
    way: Option<Way>,
    /// How many walks were made, where they are counted.
    walks: AtomicU32,
}

/// The walks that are made at nearly every point, along frame records and by rows alone in programs and those of kernels, are compiled
/// for the guest that they read; the others are called.
enum Walker {
    FrameRecord(FrameRecordUnwinder),
    Table(TableUnwinder),
    Kernel(&'static KernelUnwinder),
    Other(Box<dyn Unwinder + Send + Sync>),
}

impl std::fmt::Debug for KunwindSubject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KunwindSubject").field("name", &self.about.name).finish_non_exhaustive()
    }
}

impl Subject for KunwindSubject {
    fn about(&self) -> &About {
        &self.about
    }

    fn ignores_pc(&self) -> bool {
        matches!(self.walker, Walker::FrameRecord(_))
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let target = question.target;
        match &self.walker {
            Walker::FrameRecord(unwinder) => {
                self.walk_by(unwinder, |frame, state| unwinder.step(frame, state, target), question, each)
            }
            Walker::Table(unwinder) => {
                self.walk_by(unwinder, |frame, state| unwinder.step(frame, state, target), question, each)
            }
            Walker::Kernel(unwinder) => {
                let (mut frame, mut state) = start(question);
                self.check_often(unwinder, &frame, question);
                let (end, claim, last) = kernel_walk(unwinder, &mut frame, &mut state, question, each);
                self.ended(end, claim, last, question)
            }
            Walker::Other(unwinder) => {
                self.walk_by(&&**unwinder, |frame, state| unwinder.step(frame, state, target), question, each)
            }
        }
    }

    fn way(&self) -> Option<Way> {
        self.way
    }
}

/// What a walk starts with.
#[inline]
pub(super) fn start(question: &Question<'_>) -> (Frame, WalkState) {
    let source = question.pt_regs.map_or(Source::Start, |at| Source::PtRegs { at });
    (Frame { pc: question.pc, regs: *question.regs, source }, WalkState::new(question.target.stacks))
}

/// Shows an entry of a walk that has come here.
#[inline]
pub(super) fn show<T>(
    frame: &Frame,
    state: &WalkState,
    question: &Question<'_>,
    each: impl FnOnce(&Entry<'_>) -> T,
) -> T {
    let how = How { source: &frame.source, abi: question.target.program.guest.cpu.abi };
    each(&Entry { pc: frame.pc, regs: &frame.regs, source: &how, progress: Some(Progress { frame, state }) })
}

/// A kernel's walk from this frame on: how it ended, what it claims, and the pc of its last entry.
pub(super) fn kernel_walk(
    unwinder: &KernelUnwinder,
    frame: &mut Frame,
    state: &mut WalkState,
    question: &Question<'_>,
    each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>,
) -> (kunwind::End, kunwind::Claim, CodeAddress) {
    let mut last = frame.pc;
    let step = |frame: &mut Frame, state: &mut WalkState| unwinder.step_over(frame, state, question.target);
    let (end, claim) = kunwind::walk_by(unwinder.claims(), step, frame, state, |frame, state| {
        last = frame.pc;
        show(frame, state, question, &mut *each)
    });
    (end, claim, last)
}

/// What came of a walk.
pub(super) const fn outcome(end: kunwind::End, claim: kunwind::Claim) -> Outcome {
    Outcome {
        end: match end {
            kunwind::End::Outermost => End::Outermost,
            kunwind::End::Error(_) => End::Stopped,
            kunwind::End::Full => End::Full,
        },
        claim: match claim {
            kunwind::Claim::Reliable => Claim::Reliable,
            kunwind::Claim::Unreliable => Claim::Unreliable,
            kunwind::Claim::None => Claim::None,
        },
    }
}

impl KunwindSubject {
    #[inline]
    fn walk_by<U: Unwinder>(
        &self,
        unwinder: &U,
        step: impl FnMut(&mut Frame, &mut WalkState) -> Result<Step, Error>,
        question: &Question<'_>,
        each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>,
    ) -> Outcome {
        let (mut frame, mut state) = start(question);
        self.check_often(unwinder, &frame, question);
        let mut last = question.pc;
        let (end, claim) = kunwind::walk_by(unwinder.claims(), step, &mut frame, &mut state, |frame, state| {
            last = frame.pc;
            show(frame, state, question, &mut *each)
        });
        self.ended(end, claim, last, question)
    }

    #[inline]
    fn check_often(&self, unwinder: &dyn Unwinder, start: &Frame, question: &Question<'_>) {
        if cfg!(debug_assertions) {
            self.check(unwinder, *start, question.target);
        }
    }

    /// What came of a walk. `last` is the pc of its last entry.
    #[inline]
    fn ended(&self, end: kunwind::End, claim: kunwind::Claim, last: CodeAddress, question: &Question<'_>) -> Outcome {
        if let Some(why) = question.why {
            *why.borrow_mut() = self.why(end, last, question);
        }
        outcome(end, claim)
    }

    /// Every so often, whether the unwinder keeps to the contract that `verdict::Memo` relies on.
    ///
    /// # Panics
    ///
    /// When it does not: verdicts of a build without this check could be wrong.
    fn check(&self, unwinder: &dyn Unwinder, start: Frame, target: &GuestTarget<'_>) {
        if self.walks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKED) {
            // What is read for the check, nobody has read.
            let view = GuestTarget { reads: None, ..target.clone() };
            if let Err(pc) = check_steps(unwinder, start, &view) {
                panic!(
                    "{}: a step from {:#x} went another way when it was made again; what a step does must follow from its arguments alone",
                    self.about.name,
                    pc.value()
                );
            }
        }
    }

    /// Why a walk ended, in words. `last` is the pc of its last entry.
    fn why(&self, end: kunwind::End, last: CodeAddress, question: &Question<'_>) -> String {
        let program = question.target.program;
        let kunwind::End::Error(error) = end else { return end.to_string() };
        let text = format!("error: {}", program.guest.cpu.abi.describe(error));
        // What is wrong with the unwind data, only their table knows.
        let of_table = matches!(
            error,
            kunwind::Error::Unrepresentable(_) | kunwind::Error::BadTable { .. } | kunwind::Error::NoRow(_)
        );
        let reason =
            self.about.needs.filter(|_| of_table).and_then(|format| program.tables.reason(format, last.lookup()));
        reason.map_or(text.clone(), |reason| format!("{text} ({reason})"))
    }

    /// The bare walk along frame records.
    #[must_use]
    pub fn frame_record(cpu: &'static Cpu) -> Self {
        let unwinder = FrameRecordUnwinder::new(cpu.abi);
        Self::with(about(&unwinder), Walker::FrameRecord(unwinder), |about| {
            about.gate = Gate::Sound;
            about.registers = vec![cpu.abi.fp];
            about.frame_pointers = Some(true);
        })
    }

    /// A walk by tables of this format, in every frame.
    fn table(cpu: &'static Cpu, format: Format) -> Self {
        let unwinder = TableUnwinder::new(cpu.abi, format);
        Self::with(about(&unwinder), Walker::Table(unwinder), |about| {
            about.gate = Gate::Sound;
            about.registers = all_registers(cpu);
            about.scope = Scope::Program;
            about.needs = Some(format);
            // CFI has rules for all of them.
            about.compares.callee_saved = format == Format::Dwarf;
        })
    }

    /// A kernel's walk of a user stack. It reports pcs alone; its CFAs and frame pointers are not judged.
    fn user(cpu: &'static Cpu, unwinder: UnwindUser) -> Self {
        Self::new(Box::new(unwinder), |about| {
            about.gate = Gate::Sound;
            about.registers = all_registers(cpu);
            about.compares = Compares { cfa: false, fp: false, callee_saved: false };
            about.scope = Scope::User;
            about.may_read_all = true;
            about.status = in_linux::status(cpu.name, &about.name).unwrap_or(Status::Design);
        })
    }

    /// A kernel's walk of its own stacks.
    fn kernel(cpu: &'static Cpu, unwinder: &'static KernelUnwinder) -> Self {
        Self::with(about(unwinder), Walker::Kernel(unwinder), |about| {
            about.gate = Gate::Sound;
            // Kernels report pcs; their SP is not part of the trace.
            about.compares = Compares { cfa: false, fp: true, callee_saved: false };
            about.registers = [cpu.abi.fp, cpu.abi.sp].into_iter().chain(cpu.abi.ra).collect();
            about.limit = if about.claims == Claims::Never { MAX_ENTRIES } else { LIVEPATCH_ENTRIES };
            // Where kernels can have ORC, their configuration decides between it and frame pointers.
            let has_choice = KernelUnwinder::of(cpu.abi).any(|unwinder| unwinder.needs() == Some(Format::Orc));
            about.frame_pointers = has_choice.then_some(about.needs != Some(Format::Orc));
            about.scope = if about.fix == Fix::None { Scope::Kernel } else { Scope::Tracer };
        })
    }

    /// An unwinder; `differs` changes what differs from the walk along frame records, and from one that is new: of that nothing is
    /// demanded.
    #[must_use]
    pub fn new(unwinder: Box<dyn Unwinder + Send + Sync>, differs: impl FnOnce(&mut About)) -> Self {
        Self::with(about(&*unwinder), Walker::Other(unwinder), differs)
    }

    fn with(mut about: About, walker: Walker, differs: impl FnOnce(&mut About)) -> Self {
        differs(&mut about);
        let way = match walker {
            Walker::Kernel(unwinder) => Way::of(unwinder),
            Walker::FrameRecord(_) | Walker::Table(_) | Walker::Other(_) => None,
        };
        Self { about, walker, way, walks: AtomicU32::new(0) }
    }
}

/// What there is to say of an unwinder that is new, and says nothing of itself.
fn about(unwinder: &dyn Unwinder) -> About {
    About {
        name: unwinder.name().to_owned(),
        claims: match unwinder.claims() {
            kunwind::Claims::Explicit => Claims::Explicit,
            kunwind::Claims::ByEnd => Claims::ByEnd,
            kunwind::Claims::ByFlag => Claims::ByFlag,
            kunwind::Claims::Never => Claims::Never,
        },
        compares: Compares { cfa: true, fp: true, callee_saved: false },
        registers: Vec::new(),
        limit: MAX_ENTRIES,
        scope: Scope::Any,
        needs: unwinder.needs(),
        fix: unwinder.fix(),
        frame_pointers: None,
        may_read_all: false,
        // The tests require that the table knows every subject; another's walker is a design.
        status: in_linux::status("", unwinder.name()).unwrap_or(Status::Design),
        gate: Gate::Any,
        command: None,
    }
}

fn all_registers(cpu: &Cpu) -> Vec<Register> {
    (0..cpu.registers).map(Register).collect()
}

/// The unwinder of this name.
pub(super) fn named(cpu: &'static Cpu, name: &str) -> Option<KunwindSubject> {
    all(cpu).into_iter().find(|subject| subject.about().name == name)
}

/// Every unwinder of kunwind for a CPU, in the order of columns.
pub(super) fn all(cpu: &'static Cpu) -> Vec<KunwindSubject> {
    let mut subjects = vec![KunwindSubject::frame_record(cpu)];
    if SFrameAbi::of(cpu.abi).is_some() {
        subjects.push(KunwindSubject::table(cpu, Format::SFrame));
    }
    subjects.push(KunwindSubject::table(cpu, Format::Dwarf));
    if SFrameAbi::of(cpu.abi).is_some() {
        subjects.push(KunwindSubject::user(cpu, UnwindUser::new(cpu.abi)));
        subjects.push(KunwindSubject::user(cpu, UnwindUser::by_frame_pointer(cpu.abi)));
    }
    subjects.extend(KernelUnwinder::of(cpu.abi).map(|unwinder| KunwindSubject::kernel(cpu, unwinder)));
    subjects
}

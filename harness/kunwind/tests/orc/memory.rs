//! A kernel drawn word by word: two stacks, text, and the ORC entries of the test.

use std::collections::BTreeMap;

use kunwind::kernel::{Form, KernelUnwinder};
use kunwind::orc::{OrcEntry, write};
use kunwind::{
    Claim, CodeAddress, End, Format, Frame, OrcTable, Register, Regs, RetStack, ReturnHook, Source, StackBounds, Table,
    Target, Task, Trampoline, Unwinder, WalkState, walk,
};

pub(crate) const TASK: StackBounds = StackBounds { low: 0x1000_0000, high: 0x1000_4000 };
pub(crate) const IRQ: StackBounds = StackBounds { low: 0x2000_0000, high: 0x2000_4000 };
/// Where the tracer's stacks and the probes' lists lie.
pub(crate) const DATA: u64 = 0x3000_0000;
/// From here on 64 KiB are text, and `.orc_unwind_ip` lies here too.
pub(crate) const TEXT: u64 = 0xffff_ffff_8100_0000;
const TEXT_SIZE: u64 = 0x1_0000;

pub(crate) const RBP: Register = Register(6);
pub(crate) const RSP: Register = Register(7);

/// All that a walk can see.
pub(crate) struct Kernel {
    pub(crate) words: BTreeMap<u64, u64>,
    pub(crate) fork_entry: Option<u64>,
    pub(crate) trampoline: Option<Trampoline>,
    /// How many words of the ret_stack at [`DATA`] are in use.
    pub(crate) ret_stack: Option<u64>,
    table: OrcTable<Vec<u8>>,
}

impl Kernel {
    /// With these entries, and these words; all others are 0x77.
    pub(crate) fn new(entries: &[(u64, OrcEntry)], words: &[(u64, u64)]) -> Self {
        let written = write(entries, TEXT).expect("the entries of a test are near");
        Self {
            words: words.iter().copied().collect(),
            fork_entry: None,
            trampoline: None,
            ret_stack: None,
            table: OrcTable::parse(written.offsets, TEXT, written.entries).expect("it was written"),
        }
    }

    pub(crate) fn with_trampoline(mut self, hook: ReturnHook, start: u64) -> Self {
        self.trampoline = Some(Trampoline { hook, start, end: start + 16 });
        self
    }

    /// The pcs after the start, how the walk ended, and what it claims.
    pub(crate) fn walk(&self, form: Form, start: Frame) -> (Vec<u64>, End, Claim) {
        let (frames, end, claim) = self.frames(form, start);
        (frames[1..].iter().map(|frame| frame.pc.value()).collect(), end, claim)
    }

    pub(crate) fn frames(&self, form: Form, start: Frame) -> (Vec<Frame>, End, Claim) {
        self.frames_by(named(if form == Form::Reliable { "x86-orc" } else { "x86-orc:best-effort" }), start)
    }

    pub(crate) fn frames_by(&self, unwinder: &dyn Unwinder, start: Frame) -> (Vec<Frame>, End, Claim) {
        let mut buffer = vec![start; 4096];
        let walk = walk(unwinder, start, self, &mut WalkState::new(self.stacks()), &mut buffer);
        (walk.frames.to_vec(), walk.end, walk.claim)
    }
}

pub(crate) fn named(name: &str) -> &'static KernelUnwinder {
    KernelUnwinder::named(name).expect("it is in the catalogue")
}

/// A running task: a return address, SP and the frame pointer.
pub(crate) fn running(pc: u64, sp: u64, bp: u64) -> Frame {
    Frame { pc: CodeAddress::Return(pc), ..interrupted(pc, sp, bp) }
}

/// The same at an instruction.
pub(crate) fn interrupted(pc: u64, sp: u64, bp: u64) -> Frame {
    let mut regs = Regs::none();
    regs.set(RSP, sp);
    regs.set(RBP, bp);
    Frame { pc: CodeAddress::Interrupted(pc), regs, source: Source::Start }
}

impl Target for Kernel {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let known = [TASK, IRQ, StackBounds { low: DATA, high: DATA + 0x1000 }];
        known.iter().any(|range| range.contains(address, 8)).then(|| self.words.get(&address).copied().unwrap_or(0x77))
    }

    fn stacks(&self) -> &[StackBounds] {
        &[TASK, IRQ]
    }

    fn entered_from(&self, _: &StackBounds) -> Option<u64> {
        None
    }

    fn is_text(&self, address: u64) -> bool {
        (TEXT..TEXT + TEXT_SIZE).contains(&address)
    }

    fn is_exception_entry(&self, _: u64) -> bool {
        false
    }

    fn task(&self) -> Option<Task> {
        let ret_stack = self.ret_stack.map(|index| RetStack { words: DATA, index, entry_words: 3 });
        Some(Task { stack: TASK, ret_stack, rethooks: Some(DATA + 0x800), fork_entry: self.fork_entry })
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        (format == Format::Orc).then_some(&self.table)
    }

    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        self.trampoline.filter(|trampoline| (trampoline.start..trampoline.end).contains(&address))
    }
}

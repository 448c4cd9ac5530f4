//! The walks along frame records in the windows of return_to_handler, and what each remedy does there: arm64's stack, drawn word by
//! word.

use std::collections::BTreeMap;

use kunwind::kernel::KernelUnwinder;
use kunwind::{
    Abi, CfaRule, Claim, CodeAddress, End, Entry, Error, Format, Frame, Regs, RetStack, ReturnHook, Rule, Source,
    StackBounds, Table, Target, Task, Trampoline, UnwindRow, WalkState, abi, walk,
};

use crate::by_pc::Rows;
use crate::no_exceptions::no_exceptions;

const ARM64: &Abi = &abi::ARM64;
const LOW: u64 = 0xffff_8000_1000_0000;
const HIGH: u64 = LOW + 0x4000;
const STACK: StackBounds = StackBounds { low: LOW, high: HIGH };
/// The record at the end of `task_pt_regs`.
const FINAL: u64 = HIGH - 24;
const TEXT: u64 = 0xffff_8000_8000_0000;
/// To what the hooked return belongs, and what the frame records hold above it.
const ORIGINAL: u64 = TEXT + 0x100;
const CALLER: u64 = TEXT + 0x200;
const OLDER: u64 = TEXT + 0x300;
/// return_to_handler, an instruction inside of it, and the trampoline of rethooks.
const HANDLER: u64 = TEXT + 0x1000;
const INSIDE: u64 = HANDLER + 0x20;
const RETHOOK: u64 = TEXT + 0x2000;
/// The ret_stack, and the list of rethooks with its only node.
const RET_STACK: u64 = 0xffff_8000_2000_0000;
const LIST: u64 = RET_STACK + 0x2000;
const NODE: u64 = LIST + 8;
const SP: u64 = LOW + 0x800;
const FP: u64 = LOW + 0x900;

/// What the reliable walk shows if nothing but the hooked return is in its way.
const WHOLE: [u64; 3] = [ORIGINAL, CALLER, OLDER];

const DETECT: &str = "arm64-sframe-detect";

/// The pcs of a walk after its first, how it ended, and what it claims.
type Walked = (Vec<u64>, End, Claim);

/// A task with these words, and so many words of its ret_stack in use.
struct Kernel {
    words: BTreeMap<u64, u64>,
    rows: Rows,
    ret_stack: u64,
}

impl Kernel {
    /// At `FP` the record of the function to which the hooked call returns; that of its caller; FINAL. Where it returns to, it has a
    /// row: its record is all of its frame.
    fn new() -> Self {
        let chain = [(FP, FP + 0x100), (FP + 8, CALLER), (FP + 0x100, FINAL), (FP + 0x108, OLDER)];
        let end = [(FINAL, 0), (FINAL + 8, 0), (FINAL + 16, 1), (LIST, 0)];
        let saved = |offset| Rule::CfaOffsetDeref(offset);
        let rows = BTreeMap::from([(ORIGINAL, row(CfaRule::RegOffset(ARM64.fp, 16), saved(-8), saved(-16)))]);
        Self { words: chain.into_iter().chain(end).collect(), rows: Rows(rows), ret_stack: 0 }
    }

    /// With a row inside of the trampoline: the original is in x30, and no frame has been made.
    fn with_row(mut self) -> Self {
        self.rows.0.insert(INSIDE, row(CfaRule::RegOffset(ARM64.sp, 0), Rule::Retain, Rule::Retain));
        self
    }

    /// With an entry on the ret_stack, youngest last: ret, func, fp, retp, and the control word of a complete one. Its cookie
    /// is the frame pointer (`kunwind_recover_return_address`).
    fn with_entry(mut self, ret: u64, cookie: u64) -> Self {
        let at = RET_STACK + self.ret_stack * 8;
        self.words.extend([(at, ret), (at + 8, TEXT), (at + 16, 0), (at + 24, cookie), (at + 32, 4 | 1 << 10)]);
        self.ret_stack += 5;
        self
    }

    /// With a node on the list of rethooks: next, return address, frame.
    fn with_node(mut self, ret: u64) -> Self {
        self.words.extend([(LIST, NODE), (NODE, 0), (NODE + 8, ret), (NODE + 16, FP)]);
        self
    }

    /// Walks from there, with this in the link register.
    fn walk(&self, name: &str, pc: CodeAddress, link: u64) -> Walked {
        self.walk_at(name, pc, FP, link)
    }

    fn walk_at(&self, name: &str, pc: CodeAddress, fp: u64, link: u64) -> Walked {
        let mut regs = Regs::none();
        for (register, value) in [(ARM64.fp, fp), (ARM64.sp, SP), (ARM64.ra.expect("arm64 has one"), link)] {
            regs.set(register, value);
        }
        let start = Frame { pc, regs, source: Source::Start };
        let unwinder = KernelUnwinder::named(name).expect("it is in the catalogue");
        let mut buffer = [start; 16];
        let walk = walk(unwinder, start, self, &mut WalkState::new(self.stacks()), &mut buffer);
        (walk.frames[1..].iter().map(|frame| frame.pc.value()).collect(), walk.end, walk.claim)
    }

    /// Interrupted inside of the trampoline.
    fn inside(&self, name: &str, link: u64) -> Walked {
        self.walk(name, CodeAddress::Interrupted(INSIDE), link)
    }
}

impl Target for Kernel {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.words.get(&address).copied()
    }

    fn stacks(&self) -> &[StackBounds] {
        std::slice::from_ref(&STACK)
    }

    no_exceptions!(TEXT);

    fn task(&self) -> Option<Task> {
        let ret_stack = RetStack { words: RET_STACK, index: self.ret_stack, entry_words: 4 };
        Some(Task { stack: STACK, ret_stack: Some(ret_stack), rethooks: Some(LIST), fork_entry: None })
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        (format == Format::SFrame).then_some(&self.rows as &dyn Table)
    }

    fn trampoline(&self, pc: u64) -> Option<Trampoline> {
        [(HANDLER, ReturnHook::Fgraph), (RETHOOK, ReturnHook::Rethook)]
            .into_iter()
            .map(|(start, hook)| Trampoline { hook, start, end: start + 0x40 })
            .find(|trampoline| (trampoline.start..trampoline.end).contains(&pc))
    }
}

const fn row(cfa: CfaRule, ra: Rule, fp: Rule) -> Entry {
    Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false })
}

fn whole(claim: Claim) -> Walked {
    (WHOLE.to_vec(), End::Outermost, claim)
}

fn lost(pc: u64) -> Walked {
    (vec![], End::Error(Error::InsideTrampoline(pc)), Claim::Unreliable)
}

/// `do_kunwind` recovers the address with which a walk starts before it makes a step (arch/arm64/kernel/stacktrace.c).
#[test]
fn a_start_at_the_first_instruction_is_the_original_address() {
    let start = CodeAddress::Interrupted(HANDLER);
    let hooked = Kernel::new().with_entry(ORIGINAL, FP);
    for name in ["arm64-sframe", DETECT] {
        assert_eq!(hooked.walk(name, start, 0), whole(Claim::Reliable), "{name}");
    }
    assert_eq!(hooked.walk("arm64-kunwind:best-effort", start, 0), whole(Claim::None));
    let another = Kernel::new().with_entry(ORIGINAL, FP + 8).walk("arm64-sframe", start, 0);
    assert_eq!(another, (vec![], End::Error(Error::Unrecovered(HANDLER)), Claim::Unreliable));
}

#[test]
fn without_a_remedy_the_trampoline_is_code_like_any_other() {
    let hooked = Kernel::new().with_row().with_entry(ORIGINAL, FP);
    assert_eq!(hooked.inside("arm64-sframe", TEXT + 4).0, [TEXT + 4, CALLER, OLDER], "what the link register holds");
}

#[test]
fn the_design_that_refuses_the_trampoline_does_so_whatever_is_known() {
    let hooked = Kernel::new().with_row().with_entry(ORIGINAL, FP);
    assert_eq!(hooked.inside("arm64-sframe-refuse", ORIGINAL), lost(INSIDE));
    assert_eq!(hooked.walk("arm64-sframe-refuse", CodeAddress::Return(INSIDE), 0), lost(INSIDE));
}

#[test]
fn an_original_on_the_ret_stack_is_found_without_a_row() {
    let hooked = Kernel::new().with_entry(ORIGINAL, FP);
    for pc in [CodeAddress::Interrupted(INSIDE), CodeAddress::Return(INSIDE)] {
        assert_eq!(hooked.walk(DETECT, pc, 0), whole(Claim::Reliable), "{pc:?}");
    }
    // The call was probed before it was traced: what the ret_stack holds is a trampoline's address too.
    let probed = Kernel::new().with_entry(RETHOOK, FP).with_node(ORIGINAL);
    assert_eq!(probed.inside(DETECT, 0), whole(Claim::Reliable));
}

#[test]
fn an_original_in_the_link_register_may_be_a_trampolines_address_too() {
    // A traced function jumped to another one: the younger entry is gone, and its original was return_to_handler.
    let jumped = Kernel::new().with_row().with_entry(ORIGINAL, FP);
    assert_eq!(jumped.inside(DETECT, HANDLER), whole(Claim::Reliable));
    let unknown = Kernel::new().with_row().with_entry(ORIGINAL, FP + 8).inside(DETECT, HANDLER);
    assert_eq!(unknown, (vec![], End::Error(Error::Unrecovered(HANDLER)), Claim::Unreliable));
}

/// Each entry stands for one return: `graph_idx` of `ftrace_graph_ret_addr` (kernel/trace/fgraph.c).
#[test]
fn an_address_that_is_back_in_its_register_uses_up_its_entry() {
    // A function was traced and probed, and jumped to one that was traced. That one returns, the trampoline has what it is to return
    // to in x30, and the entry is not gone yet.
    let hooked = Kernel::new().with_row().with_entry(ORIGINAL, FP).with_entry(RETHOOK, FP).with_node(HANDLER);
    // The node's address is not asked for again, so that the trampoline is in the trace; its own entry is the older one.
    let expected = (vec![HANDLER, ORIGINAL, CALLER, OLDER], End::Outermost, Claim::Reliable);
    assert_eq!(hooked.inside(DETECT, RETHOOK), expected);
}

#[test]
fn the_record_of_a_trampoline_holds_the_frame_pointer_and_the_original_address() {
    let mut kernel = Kernel::new();
    let record = LOW + 0x700;
    kernel.words.extend([(record, 0), (record + 8, 0), (record + 16, 3), (record + 24, FP), (record + 32, ORIGINAL)]);
    // The handler's record leads to it.
    kernel.words.extend([(LOW + 0x600, record), (LOW + 0x608, INSIDE)]);
    let walked = kernel.walk_at("arm64-sframe-pending", CodeAddress::Return(TEXT), LOW + 0x600, 0);
    let expected = (vec![INSIDE, ORIGINAL, CALLER, OLDER], End::Outermost, Claim::Reliable);
    assert_eq!(walked, expected);
}

#[test]
fn where_the_original_is_lost_the_walk_ends_unless_the_trampoline_has_a_record() {
    // The entry is another call's, and the handler's caller is the trampoline, which links a record in one design alone.
    let kernel = Kernel::new().with_entry(ORIGINAL, FP + 8);
    for name in [DETECT, "arm64-sframe-record", "arm64-sframe-pending"] {
        assert_eq!(kernel.inside(name, 0), lost(INSIDE), "{name}");
    }
    let called = CodeAddress::Return(INSIDE);
    assert_eq!(kernel.walk(DETECT, called, 0), lost(INSIDE));
    let by_record = (vec![CALLER, OLDER], End::Outermost, Claim::Reliable);
    for name in ["arm64-sframe-record", "arm64-sframe-pending"] {
        assert_eq!(kernel.walk(name, called, 0), by_record, "{name}");
    }
}

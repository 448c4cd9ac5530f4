//! How far each table leads: from every point, the row of the running function, and the whole chain of callers by rows alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kunwind::{CodeAddress, Format, Frame, Source, TableUnwinder, WalkState, walk_each};

use super::FORMATS;
use super::asked::Data;
use super::judge::Judgement;
use crate::cpu::{Cpu, Register, Regs};
use crate::guest::Program;
use crate::oracle::{Activation, Truth};
use crate::recording::rows::{Level, Part};
use crate::subject::{GuestTarget, MAX_ENTRIES};

/// Counts points for each table.
#[derive(Debug)]
pub(super) struct Levels {
    counts: [Level; FORMATS.len()],
    /// Whether chains are walked: not in a kernel, whose rows do not lead over exceptions, stacks and tasks by themselves.
    walks: bool,
}

/// What a walk found of the whole chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    /// The list of return addresses is the true one, and ends where it does.
    addresses: bool,
    /// So are the CFAs and the callee-saved registers of all callers.
    registers: bool,
}

impl Levels {
    pub(super) fn new(program: &Program) -> Self {
        let walks = program.conventions.kernel.is_none();
        let level = Level { return_addresses_right: walks.then_some(0), exact: walks.then_some(0), ..Level::default() };
        Self { counts: std::array::from_fn(|_| level), walks }
    }

    /// Counts a point for the table of this index: what it has for the running function, and how that was judged.
    pub(super) fn note(&mut self, index: usize, data: &Data, judgement: Option<&Judgement>) -> bool {
        let level = &mut self.counts[index];
        let is_right = match (data, judgement) {
            (Data::None, _) => {
                level.no_row += 1;
                return false;
            }
            (Data::Entry(_), Some(parts)) => is_right(parts),
            (Data::Unread(_), _) | (Data::Entry(_), None) => None,
        };
        match is_right {
            Some(true) => level.innermost_right += 1,
            Some(false) => level.wrong += 1,
            None => level.not_judged += 1,
        }
        is_right == Some(true)
    }

    /// Walks the whole chain by the table of this index and counts what it found. `innermost`: whether the running function's row
    /// is right.
    pub(super) fn walk(
        &mut self,
        index: usize,
        (pc, regs): (u64, &Regs),
        target: &GuestTarget<'_>,
        truth: &Truth,
        innermost: bool,
    ) {
        if !self.walks {
            return;
        }
        let chain = chain(index, (pc, regs), target, truth);
        let level = &mut self.counts[index];
        let count = |counter: &mut Option<u64>, is_so: bool| {
            if let Some(counter) = counter {
                *counter += u64::from(is_so);
            }
        };
        count(&mut level.return_addresses_right, chain.addresses);
        count(&mut level.exact, innermost && chain.addresses && chain.registers);
    }

    /// The counts of the tables that the guest has.
    pub(super) fn finish(self, program: &Program) -> BTreeMap<String, Level> {
        let has = |format| {
            program.tables.get(format).is_some() || program.tables.unread().iter().any(|unread| unread.format == format)
        };
        let counted = FORMATS.into_iter().zip(self.counts).filter(|(format, _)| has(*format));
        counted.map(|(format, level)| (format.name().to_owned(), level)).collect()
    }
}

/// Whether a row is right in every part that was judged; `None` if return address or CFA were not.
fn is_right(parts: &Judgement) -> Option<bool> {
    if parts.iter().flatten().any(Result::is_err) {
        return Some(false);
    }
    let is_judged = |part: Part| parts[part as usize].is_some();
    // That there is no caller is all that an outermost row says.
    let says_outermost = is_judged(Part::Ra) && Part::ALL.into_iter().all(|part| part == Part::Ra || !is_judged(part));
    (is_judged(Part::Ra) && is_judged(Part::Cfa) || says_outermost).then_some(true)
}

/// Walks by rows alone, and compares every entry with the activation that waits there.
fn chain(index: usize, (pc, regs): (u64, &Regs), target: &GuestTarget<'_>, truth: &Truth) -> Chain {
    let cpu = target.program.guest.cpu;
    let mut waiting = truth.activations();
    let mut found = Chain { addresses: true, registers: true };
    let mut is_start = true;
    let mut entries = 0;
    let start = Frame { pc: CodeAddress::Interrupted(pc), regs: *regs, source: Source::Start };
    let mut state = WalkState::new(target.stacks);
    let consume = |frame: &Frame, _: &WalkState| {
        entries += 1;
        if std::mem::take(&mut is_start) {
            return ControlFlow::Continue(());
        }
        match waiting.next() {
            Some(activation) if activation.resume == frame.pc.value() && entries <= MAX_ENTRIES => {
                found.registers &= has_registers(cpu, FORMATS[index], activation, &frame.regs);
                ControlFlow::Continue(())
            }
            _ => {
                found.addresses = false;
                ControlFlow::Break(())
            }
        }
    };
    walk_each(&TableUnwinder::new(cpu.abi, FORMATS[index]), start, target, &mut state, consume);
    found.addresses &= waiting.next().is_none();
    found
}

/// Whether a walk knows the CFA and the callee-saved registers of an activation, as far as its format has rules for them: CFI has for
/// all, the others for the frame pointer.
fn has_registers(cpu: &Cpu, format: Format, activation: &Activation, regs: &Regs) -> bool {
    let is_asked = |register: Register| format == Format::Dwarf || register == cpu.abi.fp;
    let is_right = |(index, register): (usize, &Register)| {
        let truth = activation.kept(index).filter(|_| is_asked(*register));
        truth.is_none_or(|truth| regs.get(*register) == Some(truth))
    };
    regs.get(cpu.sp) == Some(activation.cfa) && cpu.callee_saved.iter().enumerate().all(is_right)
}

//! riscv64: the walk of Linux v7.3 (arch/riscv/kernel/stacktrace.c), and the one that the S4 series proposes.

use super::Form;
use super::metadata::{Boundary, Layout, MetadataUnwinder};
use crate::abi::RISCV64;
use crate::{Claims, CodeAddress, Error, Frame, Inside, Source, Step, Target, Unwinder, WalkState};

static METADATA: Layout = Layout {
    abi: &RISCV64,
    pt_regs_size: 312, // 288 bytes of mainline, and {fp, ra, type}
    pt_regs_on_stack: 320,
    stackframe: 288,
};

/// The proposal of the S4 series: metadata records as on arm64, found from a frame pointer that points above them.
#[must_use]
pub const fn riscv_metadata(form: Form) -> MetadataUnwinder {
    with_design(["riscv-metadata", "riscv-metadata:best-effort"], form, Inside::Ignore)
}

/// [`riscv_metadata`] with a design that closes the windows of `return_to_handler`.
const fn with_design(names: [&'static str; 2], form: Form, inside: Inside) -> MetadataUnwinder {
    MetadataUnwinder { layout: &METADATA, names, form, boundary: Boundary::FramePointer, inside }
}

/// The least such design: a walk that comes to a pc inside of `return_to_handler` is not to be relied on.
#[must_use]
pub const fn riscv_metadata_refuse() -> MetadataUnwinder {
    with_design(["riscv-metadata-refuse"; 2], Form::Reliable, Inside::Refuse)
}

/// Any pc inside of `return_to_handler` is noticed: by the ret_stack, or not at all and then unreliable. The reliable form stops
/// at exceptions as [`riscv_metadata`] does; what the design knows of interrupted instructions, the best-effort form shows.
#[must_use]
pub const fn riscv_metadata_detect(form: Form) -> MetadataUnwinder {
    with_design(["riscv-metadata-detect", "riscv-metadata-detect:best-effort"], form, Inside::Detect)
}

/// The same for a trampoline that links a frame record with the original address before the entry is taken off.
#[must_use]
pub const fn riscv_metadata_record(form: Form) -> MetadataUnwinder {
    with_design(["riscv-metadata-record", "riscv-metadata-record:best-effort"], form, Inside::Record)
}

/// The same for a trampoline with a metadata record of a type of its own.
#[must_use]
pub const fn riscv_metadata_pending(form: Form) -> MetadataUnwinder {
    with_design(["riscv-metadata-pending", "riscv-metadata-pending:best-effort"], form, Inside::Pending)
}

/// THREAD_SIZE with 4 KiB pages.
const THREAD_SIZE: u64 = 0x4000;
/// sizeof(struct stackframe).
const RECORD_SIZE: u64 = 16;

/// `walk_stackframe`, as it is in mainline: a frame pointer must lie above SP and inside what would be one stack; an
/// exception is recognised by a return address in the entry code. It never says whether it is right.
#[derive(Clone, Copy, Debug)]
pub struct WalkStackframe;

impl WalkStackframe {
    /// Whether a frame pointer can be one, seen from SP: `sp + 16 <= fp <= round-up(sp, THREAD_SIZE)`, and aligned.
    fn is_valid(fp: u64, sp: u64) -> bool {
        let low = sp.saturating_add(RECORD_SIZE);
        let high = sp.checked_next_multiple_of(THREAD_SIZE).unwrap_or(u64::MAX);
        low <= fp && fp <= high && fp.is_multiple_of(RISCV64.frame_record.align)
    }

    /// The frame that goes on at `pc`, if that is kernel text; the walk stops without a word if it is not.
    fn report(frame: &mut Frame, pc: CodeAddress, fp: u64, sp: u64, source: Source, target: &dyn Target) -> Step {
        if !target.is_text(pc.value()) {
            return Step::Outermost;
        }
        frame.pc = pc;
        frame.source = source;
        frame.regs.clear();
        frame.regs.set(RISCV64.fp, fp);
        frame.regs.set(RISCV64.sp, sp);
        Step::Caller
    }
}

impl Unwinder for WalkStackframe {
    fn name(&self) -> &'static str {
        "riscv-walk-stackframe"
    }

    fn claims(&self) -> Claims {
        Claims::Never
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let fp = frame.regs.get(RISCV64.fp).ok_or(Error::NoFramePointer)?;
        let sp = frame.regs.get(RISCV64.sp).ok_or(Error::NoFramePointer)?;
        // A return address in the entry code has been reported; SP is where the handler found the pt_regs.
        if let CodeAddress::Return(pc) = frame.pc
            && target.is_exception_entry(pc)
        {
            let read = |offset: u64| target.read_u64(sp + offset).ok_or(Error::Unreadable(sp + offset));
            let [_, (_, s0), _] = RISCV64.pt_regs.registers else { return Err(Error::NoFramePointer) };
            let (epc, s0) = (read(RISCV64.pt_regs.pc)?, read(*s0)?);
            let source = Source::PtRegs { at: sp };
            return Ok(Self::report(frame, CodeAddress::Interrupted(epc), s0, sp, source, target));
        }
        if !Self::is_valid(fp, sp) {
            return Ok(Step::Outermost);
        }
        let record = fp - RECORD_SIZE;
        let source = Source::FrameRecord { at: record };
        let caller_fp = target.read_u64(record).ok_or(Error::Unreadable(record))?;
        let slot = target.read_u64(record + 8).ok_or(Error::Unreadable(record + 8))?;
        // A leaf that stored s0 alone stores it in the slot of ra. Only the first step of a walk from pt_regs knows ra.
        if let (CodeAddress::Interrupted(_), Some(ra)) = (frame.pc, RISCV64.ra.and_then(|ra| frame.regs.get(ra)))
            && Self::is_valid(slot, fp)
        {
            return Ok(Self::report(frame, CodeAddress::Return(ra), slot, fp, source, target));
        }
        // The cookie is the address of the slot. What is not found stays what it is.
        let return_address = state.rewritten.recover(slot, record + 8, target).unwrap_or(slot);
        Ok(Self::report(frame, CodeAddress::Return(return_address), caller_fp, fp, source, target))
    }
}

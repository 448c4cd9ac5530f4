//! arm64: Linux v7.3, arch/arm64/kernel/stacktrace.c and arch/arm64/include/asm/stacktrace/; and the step by SFrame as the
//! review of its fifth version agreed on it (thread S0), with the defects of two versions as subjects of their own.

use super::Form;
use super::boundary::{Fallback, Policy};
use super::metadata::{Boundary, Layout, MetadataUnwinder};
use crate::abi::ARM64;
use crate::{Claims, Inside};

static LAYOUT: Layout = Layout {
    abi: &ARM64,
    pt_regs_size: 320, // arch/arm64/include/asm/ptrace.h
    pt_regs_on_stack: 320,
    stackframe: 296,
};

/// `kunwind`, as it is in mainline.
#[must_use]
pub const fn arm64_kunwind(form: Form) -> MetadataUnwinder {
    let names = ["arm64-kunwind", "arm64-kunwind:best-effort"];
    MetadataUnwinder { layout: &LAYOUT, names, form, boundary: Boundary::FramePointer, inside: Inside::Ignore }
}

/// As agreed: CFAs are 16-byte aligned, a row that cannot be used is replaced by the frame record and spoils the walk.
static AGREED: Policy =
    Policy { cfa_mask: 15, fp_must_be_above_sp: false, fallback: Fallback::FrameRecord, claims: Claims::Explicit };

/// The fifth version: 8-byte aligned CFAs, and a fallback that takes the words at the frame pointer for metadata.
static VERSION_5: Policy =
    Policy { cfa_mask: 7, fp_must_be_above_sp: true, fallback: Fallback::Metadata, claims: Claims::Explicit };

/// The sixth version: the mask is 0x15 where 0xf was meant, a frame pointer below SP is refused, and the reliable walk drops the
/// walk's return code.
static VERSION_6: Policy =
    Policy { cfa_mask: 0x15, fp_must_be_above_sp: true, fallback: Fallback::FrameRecord, claims: Claims::ByFlag };

/// A walk by rows at exception boundaries; of a walk that has one form alone, that is its only name.
const fn by_rows(names: [&'static str; 2], form: Form, policy: &'static Policy, inside: Inside) -> MetadataUnwinder {
    MetadataUnwinder { layout: &LAYOUT, names, form, boundary: Boundary::Rows(policy), inside }
}

/// `kunwind` with SFrame at exception boundaries, as the review agreed on it.
#[must_use]
pub const fn arm64_sframe(form: Form) -> MetadataUnwinder {
    by_rows(["arm64-sframe", "arm64-sframe:best-effort"], form, &AGREED, Inside::Ignore)
}

/// The reliable walk of the fifth version of the series, with its fallback. Its second try by SFrame where a frame record fails
/// is not modelled.
#[must_use]
pub const fn arm64_sframe_v5() -> MetadataUnwinder {
    by_rows(["arm64-sframe-v5"; 2], Form::Reliable, &VERSION_5, Inside::Ignore)
}

/// The reliable walk of the sixth version of the series, with its mask, its check of the frame pointer and its dropped return
/// code.
#[must_use]
pub const fn arm64_sframe_v6() -> MetadataUnwinder {
    by_rows(["arm64-sframe-v6"; 2], Form::Reliable, &VERSION_6, Inside::Ignore)
}

/// [`arm64_sframe`], reliable, with the least that closes the windows of `return_to_handler`: a walk that comes to a pc inside of
/// it is not to be relied on.
#[must_use]
pub const fn arm64_sframe_refuse() -> MetadataUnwinder {
    by_rows(["arm64-sframe-refuse"; 2], Form::Reliable, &AGREED, Inside::Refuse)
}

/// [`arm64_sframe`], reliable, with a design that closes the windows of `return_to_handler`: any pc inside of it is noticed, by
/// its row, by the ret_stack, or not at all and then unreliable.
#[must_use]
pub const fn arm64_sframe_detect() -> MetadataUnwinder {
    by_rows(["arm64-sframe-detect"; 2], Form::Reliable, &AGREED, Inside::Detect)
}

/// The same for a trampoline that links a frame record with the original address before the entry is taken off.
#[must_use]
pub const fn arm64_sframe_record() -> MetadataUnwinder {
    by_rows(["arm64-sframe-record"; 2], Form::Reliable, &AGREED, Inside::Record)
}

/// The same for a trampoline with a metadata record of a type of its own.
#[must_use]
pub const fn arm64_sframe_pending() -> MetadataUnwinder {
    by_rows(["arm64-sframe-pending"; 2], Form::Reliable, &AGREED, Inside::Pending)
}

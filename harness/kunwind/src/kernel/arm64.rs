//! arm64: the numbers of Linux v7.3, and the policies of the step by SFrame: as we read the review of its fifth version
//! (thread S0), and two versions with their defects. What each rule follows, [`Policy`] says.

use super::boundary::{Policy, StackPointer, UnknownPc};
use super::records::Layout;
use crate::abi::ARM64;
use crate::walk::Claims;

/// arch/arm64/include/asm/ptrace.h.
pub(super) static LAYOUT: Layout = Layout { abi: &ARM64, pt_regs_size: 320, pt_regs_on_stack: 320, stackframe: 296 };

/// As we read the review: CFAs are 16-byte aligned (AAPCS64 6.4.5.2), and a row that cannot be used is replaced by the frame record
/// and spoils the walk. The walk's return code counts: no mail of the review says so, or that it should be dropped.
pub(super) static AGREED: Policy = Policy {
    cfa_mask: 15,
    fp_must_be_above_sp: false,
    sp: StackPointer::PtRegs,
    unknown_pc: UnknownPc::Fails,
    outermost_is_end: false,
    loses_regs: false,
    claims: Claims::Explicit,
};

/// The fifth version: SP is the walk's own, which is wrong beyond frame records; a pc without a row has the words at the
/// frame pointer taken for metadata; a row may end the stack; a row is tried where a frame record fails; and
/// `arch_stack_walk_reliable` drops the walk's return code.
pub(super) static VERSION_5: Policy = Policy {
    cfa_mask: 7,
    fp_must_be_above_sp: true,
    sp: StackPointer::Tracked,
    unknown_pc: UnknownPc::Metadata,
    outermost_is_end: true,
    loses_regs: true,
    claims: Claims::ByFlag,
};

/// The sixth version: the mask is 0x15 where 0xf was meant, a frame pointer below SP is refused, and
/// `arch_stack_walk_reliable` drops the walk's return code.
pub(super) static VERSION_6: Policy = Policy {
    cfa_mask: 0x15,
    fp_must_be_above_sp: true,
    sp: StackPointer::PtRegs,
    unknown_pc: UnknownPc::Fails,
    outermost_is_end: false,
    loses_regs: true,
    claims: Claims::ByFlag,
};

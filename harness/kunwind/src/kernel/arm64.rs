//! arm64: the numbers of Linux v7.3, and the policies of the step by SFrame: as the review of its fifth version agreed
//! on it (thread S0), and two versions with their defects.

use super::boundary::{Fallback, Policy};
use super::records::Layout;
use crate::abi::ARM64;
use crate::walk::Claims;

/// arch/arm64/include/asm/ptrace.h.
pub(super) static LAYOUT: Layout = Layout { abi: &ARM64, pt_regs_size: 320, pt_regs_on_stack: 320, stackframe: 296 };

/// As agreed: CFAs are 16-byte aligned (AAPCS64 6.4.5.2), and a row that cannot be used is replaced by the frame record
/// and spoils the walk.
pub(super) static AGREED: Policy =
    Policy { cfa_mask: 15, fp_must_be_above_sp: false, fallback: Fallback::FrameRecord, claims: Claims::Explicit };

/// The fifth version: 8-byte aligned CFAs, and a fallback that takes the words at the frame pointer for metadata. Its
/// second try by SFrame where a frame record fails is not modelled.
pub(super) static VERSION_5: Policy =
    Policy { cfa_mask: 7, fp_must_be_above_sp: true, fallback: Fallback::Metadata, claims: Claims::Explicit };

/// The sixth version: the mask is 0x15 where 0xf was meant, a frame pointer below SP is refused, and the reliable walk
/// drops the walk's return code.
pub(super) static VERSION_6: Policy =
    Policy { cfa_mask: 0x15, fp_must_be_above_sp: true, fallback: Fallback::FrameRecord, claims: Claims::ByFlag };

//! `struct orc_entry`: its bits, and what they mean as a row.

use super::error::OrcError;
use crate::abi::{Abi, X86_64};
use crate::regs::Register;
use crate::row::{CfaRule, Entry, PtRegsRow, Rule, UnwindRow};

/// sizeof(struct orc_entry), which is packed.
pub const ENTRY_SIZE: usize = 6;

/// The base from which the caller's SP, or its rbp, is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OrcBase {
    /// `ORC_REG_UNDEFINED`. As the base of rbp: it is still in its register.
    Undefined = 0,
    /// `ORC_REG_PREV_SP`: the caller's SP. As the base of rbp: the word there.
    PrevSp = 1,
    /// `ORC_REG_DX`: the value of rdx.
    Dx = 2,
    /// `ORC_REG_DI`: the value of rdi.
    Di = 3,
    /// `ORC_REG_BP`: rbp. As the base of rbp: the word there.
    Bp = 4,
    /// `ORC_REG_SP`: rsp.
    Sp = 5,
    /// `ORC_REG_R10`: the value of r10.
    R10 = 6,
    /// `ORC_REG_R13`: the value of r13.
    R13 = 7,
    /// `ORC_REG_BP_INDIRECT`: the word at rbp plus the offset.
    BpIndirect = 8,
    /// `ORC_REG_SP_INDIRECT`: the word at rsp, plus the offset.
    SpIndirect = 9,
    /// `ORC_REG_AX`: the value of rax.
    Ax = 10,
}

/// Which number stands for which base. Linux has changed that; `.orc_header` holds a hash of the definitions that were
/// in force (scripts/orc_hash.sh).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OrcNumbers {
    /// Those of [`OrcBase`], in which tables are written here.
    #[default]
    Own,
    /// Those of arch/x86/include/asm/orc_types.h in Linux v6.12 to v7.0: as [`OrcBase`] has them, but none for ax.
    Linux6,
    /// Those of arch/x86/include/asm/orc_types.h in Linux v7.3: 0 undefined, 1 ax, 2 dx, 3 sp, 4 bp, 5 di, 6 r10, 7 r13,
    /// 8 the caller's SP, 9 indirect by sp, 10 indirect by bp.
    Linux7,
}

impl OrcNumbers {
    /// The definitions of v7.3, as `.orc_header` names them: what scripts/orc_hash.sh gives for their orc_types.h.
    const LINUX_7_3: [u8; 20] = [
        0x13, 0x7c, 0x36, 0xad, 0x76, 0x27, 0xc4, 0xdd, 0x55, 0x93, 0x21, 0x76, 0xbb, 0x0e, 0xcd, 0xbd, 0x50, 0x41,
        0xfc, 0x82,
    ];

    /// The same of v6.12: the SHA-1 of the lines `#define ORC_REG_*`, `#define ORC_TYPE_*` and `struct orc_entry`.
    const LINUX_6_12: [u8; 20] = [
        0xfe, 0x5d, 0x32, 0xbf, 0x58, 0x1b, 0xd6, 0x3b, 0x2c, 0xa9, 0xa5, 0xc6, 0x5b, 0xa5, 0xa6, 0x25, 0xea, 0xb3,
        0xfe, 0x24,
    ];

    /// The numbers that a kernel with this `.orc_header` uses, if they are known.
    #[must_use]
    pub fn of_header(header: &[u8]) -> Option<Self> {
        let known = [(Self::LINUX_6_12, Self::Linux6), (Self::LINUX_7_3, Self::Linux7)];
        known.into_iter().find(|(hash, _)| header == hash).map(|(_, numbers)| numbers)
    }

    fn base(self, number: u8) -> Result<OrcBase, OrcError> {
        match self {
            Self::Own => return OrcBase::try_from(number),
            Self::Linux6 if number == OrcBase::Ax as u8 => return Err(OrcError::UnknownBase(number)),
            Self::Linux6 => return OrcBase::try_from(number),
            Self::Linux7 => {}
        }
        Ok(match number {
            0 => OrcBase::Undefined,
            1 => OrcBase::Ax,
            2 => OrcBase::Dx,
            3 => OrcBase::Sp,
            4 => OrcBase::Bp,
            5 => OrcBase::Di,
            6 => OrcBase::R10,
            7 => OrcBase::R13,
            8 => OrcBase::PrevSp,
            9 => OrcBase::SpIndirect,
            10 => OrcBase::BpIndirect,
            _ => return Err(OrcError::UnknownBase(number)),
        })
    }
}

impl TryFrom<u8> for OrcBase {
    type Error = OrcError;

    fn try_from(number: u8) -> Result<Self, OrcError> {
        Ok(match number {
            0 => Self::Undefined,
            1 => Self::PrevSp,
            2 => Self::Dx,
            3 => Self::Di,
            4 => Self::Bp,
            5 => Self::Sp,
            6 => Self::R10,
            7 => Self::R13,
            8 => Self::BpIndirect,
            9 => Self::SpIndirect,
            10 => Self::Ax,
            _ => return Err(OrcError::UnknownBase(number)),
        })
    }
}

/// What lies at the place that the base and the offset give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OrcType {
    /// Nothing is known: padding, unreachable code, or code without annotations.
    Undefined = 0,
    /// There is no caller.
    EndOfStack = 1,
    /// The caller's stack at the call; the return address is the word below it.
    Call = 2,
    /// A whole pt_regs.
    Regs = 3,
    /// The last five words of pt_regs, which `iretq` takes.
    RegsPartial = 4,
}

impl TryFrom<u8> for OrcType {
    type Error = OrcError;

    fn try_from(number: u8) -> Result<Self, OrcError> {
        Ok(match number {
            0 => Self::Undefined,
            1 => Self::EndOfStack,
            2 => Self::Call,
            3 => Self::Regs,
            4 => Self::RegsPartial,
            _ => return Err(OrcError::UnknownType(number)),
        })
    }
}

/// `struct orc_entry`: how to get from a frame to its caller's, as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrcEntry {
    /// What lies at the caller's SP.
    pub kind: OrcType,
    /// From what the caller's SP is computed.
    pub sp: OrcBase,
    /// The offset to that, in bytes.
    pub sp_offset: i16,
    /// From what the place of the caller's rbp is computed; only `Undefined`, `PrevSp` and `Bp` have a meaning.
    pub bp: OrcBase,
    /// The offset to that, in bytes.
    pub bp_offset: i16,
    /// Whether the caller was interrupted: its pc is looked up as it is, and not one byte back.
    pub signal: bool,
}

impl OrcEntry {
    /// Nothing is known.
    pub const UNDEFINED: Self = Self::without_place(OrcType::Undefined);
    /// There is no caller.
    pub const END_OF_STACK: Self = Self::without_place(OrcType::EndOfStack);

    const fn without_place(kind: OrcType) -> Self {
        Self { kind, ..Self::call(OrcBase::Undefined, 0) }
    }

    /// A called function that has left rbp alone.
    #[must_use]
    pub const fn call(sp: OrcBase, sp_offset: i16) -> Self {
        Self { kind: OrcType::Call, sp, sp_offset, bp: OrcBase::Undefined, bp_offset: 0, signal: false }
    }

    /// Reads an entry, which is little endian:
    ///
    /// ```text
    ///  byte 0, 1     2, 3          4                          5
    ///  sp_offset     bp_offset     bits 0-3 base of SP        bits 0-2 type
    ///  (signed)      (signed)      bits 4-7 base of rbp       bit 3    signal
    /// ```
    ///
    /// # Errors
    ///
    /// [`OrcError::UnknownBase`], [`OrcError::UnknownType`].
    pub fn decode(bytes: [u8; ENTRY_SIZE]) -> Result<Self, OrcError> {
        Self::decode_as(OrcNumbers::Own, bytes)
    }

    /// Reads an entry whose bases have these numbers.
    ///
    /// # Errors
    ///
    /// As [`OrcEntry::decode`].
    pub fn decode_as(numbers: OrcNumbers, bytes: [u8; ENTRY_SIZE]) -> Result<Self, OrcError> {
        let [sp_low, sp_high, bp_low, bp_high, bases, flags] = bytes;
        Ok(Self {
            kind: OrcType::try_from(flags & 7)?,
            sp: numbers.base(mutant!("orc-bases-swapped", bases & 15, bases >> 4))?,
            sp_offset: i16::from_le_bytes([sp_low, sp_high]),
            bp: numbers.base(bases >> 4)?,
            bp_offset: i16::from_le_bytes([bp_low, bp_high]),
            signal: mutant!("orc-signal-unread", flags & 8 != 0, false),
        })
    }

    /// Writes an entry.
    #[must_use]
    pub const fn encode(self) -> [u8; ENTRY_SIZE] {
        let ([sp_low, sp_high], [bp_low, bp_high]) = (self.sp_offset.to_le_bytes(), self.bp_offset.to_le_bytes());
        let bases = self.sp as u8 | (self.bp as u8) << 4;
        [sp_low, sp_high, bp_low, bp_high, bases, self.kind as u8 | (self.signal as u8) << 3]
    }
}

impl OrcEntry {
    /// What the entry says as a row; nothing if one of its bases has no meaning where it stands.
    ///
    /// ```text
    ///                CALL                              REGS, and of REGS_PARTIAL the words from ip on
    ///  CFA ->+----------------+                        +----------------+
    ///        | return address |  CFA - 8               | struct pt_regs |
    ///        +----------------+                 at ->  +----------------+
    /// ```
    #[must_use]
    pub fn lower(&self) -> Option<Entry> {
        match self.kind {
            OrcType::Undefined => {
                return Some(mutant!("orc-undefined-is-end", Entry::NoRow { signal: self.signal }, Entry::Outermost));
            }
            OrcType::EndOfStack => {
                return Some(mutant!("orc-end-unknown", Entry::Outermost, Entry::NoRow { signal: false }));
            }
            OrcType::Call | OrcType::Regs | OrcType::RegsPartial => {}
        }
        let (cfa, fp, signal) = (self.cfa()?, self.frame_pointer()?, self.signal);
        Some(if self.kind == OrcType::Call {
            Entry::Row(UnwindRow { cfa, ra: Rule::CfaOffsetDeref(-8), fp, mangled_ra: false, signal })
        } else {
            Entry::PtRegs(PtRegsRow { at: cfa, is_whole: self.kind == OrcType::Regs, fp, signal })
        })
    }

    fn cfa(&self) -> Option<CfaRule> {
        let offset = i64::from(self.sp_offset);
        Some(match self.sp {
            OrcBase::Sp => CfaRule::RegOffset(X86_64.sp, offset),
            OrcBase::Bp => CfaRule::RegOffset(X86_64.fp, offset),
            OrcBase::SpIndirect => mutant!(
                "orc-sp-indirect",
                CfaRule::RegDerefOffset(X86_64.sp, offset),
                CfaRule::RegOffsetDeref(X86_64.sp, offset)
            ),
            OrcBase::BpIndirect => mutant!(
                "orc-bp-indirect",
                CfaRule::RegOffsetDeref(X86_64.fp, offset),
                CfaRule::RegDerefOffset(X86_64.fp, offset)
            ),
            // For these the kernel takes the value itself and ignores the offset.
            OrcBase::Ax => CfaRule::RegOffset(Register(0), 0),
            OrcBase::Dx => CfaRule::RegOffset(Register(1), 0),
            OrcBase::Di => CfaRule::RegOffset(Register(5), 0),
            OrcBase::R10 => CfaRule::RegOffset(Register(10), mutant!("orc-value-plus-offset", 0, offset)),
            OrcBase::R13 => CfaRule::RegOffset(Register(13), 0),
            OrcBase::Undefined | OrcBase::PrevSp => return None,
        })
    }

    fn frame_pointer(&self) -> Option<Rule> {
        let offset = mutant!("orc-offset-unsigned", i64::from(self.bp_offset), i64::from(self.bp_offset as u16));
        match self.bp {
            OrcBase::Undefined => Some(Rule::Retain),
            OrcBase::PrevSp => Some(Rule::CfaOffsetDeref(offset)),
            OrcBase::Bp => Some(mutant!(
                "orc-bp-slot-from-bp",
                Rule::RegOffsetDeref(X86_64.fp, offset),
                Rule::CfaOffsetDeref(offset)
            )),
            _ => None,
        }
    }

    /// What an unwind row of a called function says, if ORC can express it: a CFA from SP or FP, or from a word at one
    /// of them, with the return address right below it, and FP in its register or in a word at the CFA.
    #[must_use]
    pub fn from_row(row: &UnwindRow, abi: &Abi) -> Option<Self> {
        let (base, offset) = match row.cfa {
            CfaRule::RegOffset(register, offset) if register == abi.sp => (OrcBase::Sp, offset),
            CfaRule::RegOffset(register, offset) if register == abi.fp => (OrcBase::Bp, offset),
            CfaRule::RegOffsetDeref(register, offset) if register == abi.fp => (OrcBase::BpIndirect, offset),
            CfaRule::RegOffsetDeref(register, 0) if register == abi.sp => (OrcBase::SpIndirect, 0),
            CfaRule::RegDerefOffset(register, offset) if register == abi.sp => (OrcBase::SpIndirect, offset),
            CfaRule::RegOffset(..)
            | CfaRule::RegOffsetDeref(..)
            | CfaRule::RegDerefOffset(..)
            | CfaRule::Expression(_) => return None,
        };
        if row.ra != Rule::CfaOffsetDeref(-8) || row.signal {
            return None;
        }
        let (bp, bp_offset) = match row.fp {
            Rule::Retain => (OrcBase::Undefined, 0),
            Rule::CfaOffsetDeref(offset) => (OrcBase::PrevSp, i16::try_from(offset).ok()?),
            Rule::RegOffsetDeref(register, offset) if register == abi.fp => (OrcBase::Bp, i16::try_from(offset).ok()?),
            Rule::CfaOffset(_)
            | Rule::RegOffset(..)
            | Rule::RegOffsetDeref(..)
            | Rule::Expression(_)
            | Rule::ValExpression(_)
            | Rule::Undefined => return None,
        };
        Some(Self { bp, bp_offset, ..Self::call(base, i16::try_from(offset).ok()?) })
    }
}

//! Registers that a frozen state sets by their names in Unicorn's register enums, apart from the general ones.

use unicorn_engine::{RegisterARM64, RegisterRISCV, RegisterX86, Unicorn, uc_error};

use crate::machine::Context;

/// A register by its name: Unicorn's id, and its size in bytes.
pub(in crate::machine) type Named = (&'static str, i32, usize);

macro_rules! named {
    ($registers:ident, $size:literal: $($name:ident)*) => {
        &[$((stringify!($name), $registers::$name as i32, $size)),*]
    };
}

/// Those of arm64. PSTATE is not among them: its mode bits would change the exception level behind the emulator's back. What a
/// program has comes first, as in the tables of the other CPUs ([`OF_PROGRAMS`]).
pub(super) const ARM64: &[&[Named]] = &[
    named!(RegisterARM64, 8: TPIDR_EL0 FPCR FPSR NZCV),
    named!(RegisterARM64, 16: V0 V1 V2 V3 V4 V5 V6 V7 V8 V9 V10 V11 V12 V13 V14 V15 V16 V17 V18 V19 V20 V21 V22 V23 V24 V25 V26
        V27 V28 V29 V30 V31),
    named!(RegisterARM64, 16: Q0 Q1 Q2 Q3 Q4 Q5 Q6 Q7 Q8 Q9 Q10 Q11 Q12 Q13 Q14 Q15 Q16 Q17 Q18 Q19 Q20 Q21 Q22 Q23 Q24 Q25 Q26
        Q27 Q28 Q29 Q30 Q31),
    named!(RegisterARM64, 8: TPIDRRO_EL0 TPIDR_EL1 SP_EL0 ELR_EL1 VBAR_EL1 CPACR_EL1),
    named!(RegisterARM64, 8: D0 D1 D2 D3 D4 D5 D6 D7 D8 D9 D10 D11 D12 D13 D14 D15 D16 D17 D18 D19 D20 D21 D22 D23 D24 D25 D26
        D27 D28 D29 D30 D31),
];

/// Those of riscv64.
pub(super) const RISCV64: &[&[Named]] = &[
    named!(RegisterRISCV, 8: F0 F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23 F24 F25 F26
        F27 F28 F29 F30 F31),
    named!(RegisterRISCV, 8: FCSR),
    named!(RegisterRISCV, 8: FA0 FA1 FA2 FA3 FA4 FA5 FA6 FA7 FS0 FS1 FS2 FS3 FS4 FS5 FS6 FS7 FS8 FS9 FS10 FS11 FT0 FT1 FT2 FT3 FT4
        FT5 FT6 FT7 FT8 FT9 FT10 FT11),
    named!(RegisterRISCV, 8: FFLAGS FRM SSCRATCH SEPC STVEC SSTATUS MSTATUS),
];

/// Those of x86-64.
pub(super) const X86_64: &[&[Named]] = &[
    named!(RegisterX86, 8: FS_BASE MXCSR FPCW RFLAGS),
    named!(RegisterX86, 16: XMM0 XMM1 XMM2 XMM3 XMM4 XMM5 XMM6 XMM7 XMM8 XMM9 XMM10 XMM11 XMM12 XMM13 XMM14 XMM15),
    named!(RegisterX86, 8: GS_BASE),
];

/// How many tables of each CPU hold what a program has, each register once.
const OF_PROGRAMS: usize = 2;

/// The registers that a program has besides the general ones. `read` reads one by Unicorn's id.
pub(in crate::machine) fn of_program(tables: &[&[Named]], read: &dyn Fn(i32) -> u128) -> Vec<(&'static str, u128)> {
    let tables = tables.iter().take(OF_PROGRAMS);
    tables.copied().flatten().map(|(name, id, _)| (*name, read(*id))).collect()
}

/// Sets the register of this name, in any case. False if there is none in these tables.
///
/// # Errors
///
/// Whatever Unicorn refuses.
pub(super) fn set(
    tables: &[&[Named]],
    engine: &mut Unicorn<'_, Context<'_>>,
    name: &str,
    value: u128,
) -> Result<bool, uc_error> {
    let found = tables.iter().copied().flatten().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let Some((_, id, size)) = found else { return Ok(false) };
    if *size == 8 {
        engine.reg_write(*id, value as u64)?;
    } else {
        engine.reg_write_long(*id, &value.to_le_bytes())?;
    }
    Ok(true)
}

//! Alternatives, as a kernel has them once it has looked at all of its CPUs (arch/arm64/kernel/alternative.c).

use super::super::edit::Edit;
use super::NOP;
use crate::Error;

/// `struct alt_instr`: {s32 original, s32 alternative, both from their own address; u16 capability; u8 size, u8 size}.
const ENTRY: u64 = 12;
/// ARM64_CB_BIT: the alternative is a function that patches.
const CALLBACK: u16 = 1 << 15;
/// ARM64_ALWAYS_BOOT and ARM64_ALWAYS_SYSTEM, the first two lines of arch/arm64/tools/cpucaps: what every booted kernel has. Without
/// the second, no interrupt preempts a kernel.
const ALWAYS: [u16; 2] = [0, 1];

/// Patches what depends on the kernel having booted, and nothing that depends on the CPU.
pub(super) fn finalize(edit: &mut Edit<'_>) -> Result<(), Error> {
    let (Ok(mut entry), Ok(end)) = (edit.address("__alt_instructions"), edit.address("__alt_instructions_end")) else {
        return Ok(()); // none to patch
    };
    let nops = edit.address("alt_cb_patch_nops").ok();
    while entry + ENTRY <= end {
        let relative = |at: u64, edit: &Edit<'_>| {
            edit.u32_at(at).map(|offset| at.wrapping_add_signed(i64::from(offset.cast_signed())))
        };
        let (original, alternative) = (relative(entry, edit)?, relative(entry + 4, edit)?);
        let word = edit.u32_at(entry + 8)?;
        let (capability, size) = (word as u16, u64::from(word >> 16 & 0xff));
        entry += ENTRY;
        if !ALWAYS.contains(&(capability & !CALLBACK)) {
            continue;
        }
        if capability & CALLBACK != 0 && Some(alternative) != nops {
            continue; // a callback that looks at the CPU or its firmware: as it is linked
        }
        if capability & CALLBACK == 0 {
            let name = edit.image().symbols.name(original);
            return Err(edit.refuse(format!("the alternative at {name} is none that a booted kernel always patches")));
        }
        for at in (original..original + size).step_by(4) {
            edit.set_u32(at, NOP)?;
        }
    }
    Ok(())
}

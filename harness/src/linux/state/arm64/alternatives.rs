//! Alternatives, as a kernel has them once it has looked at all of its CPUs (arch/arm64/kernel/alternative.c).

use std::collections::BTreeSet;

use super::super::super::KernelImage;
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
/// More capabilities than a kernel knows.
const MAX_CAPABILITIES: u64 = 1 << 10;

/// An entry of the table.
struct Alternative {
    original: u64,
    alternative: u64,
    capability: u16,
    size: u64,
    /// Of the alternative: 0 for a callback.
    alternative_size: u64,
}

impl Alternative {
    fn read(edit: &Edit<'_>, entry: u64) -> Result<Self, Error> {
        let relative = |at: u64| edit.u32_at(at).map(|offset| at.wrapping_add_signed(offset.cast_signed().into()));
        let word = edit.u32_at(entry + 8)?;
        Ok(Self {
            original: relative(entry)?,
            alternative: relative(entry + 4)?,
            capability: word as u16,
            size: (word >> 16 & 0xff).into(),
            alternative_size: (word >> 24).into(),
        })
    }
}

/// The capabilities that this kernel looks for, by the names that it prints, with their numbers: `arm64_features` and `arm64_errata`
/// (arch/arm64/kernel/cpufeature.c, cpu_errata.c), which end with an empty entry.
pub(super) fn capabilities(image: &KernelImage) -> Result<Vec<(String, u16)>, Error> {
    let of = |member: &str| image.offset("arm64_cpu_capabilities", member);
    let (size, desc, number) = (image.size("arm64_cpu_capabilities")?, of("desc")?, of("capability")?);
    let mut found = BTreeSet::new();
    for table in ["arm64_features", "arm64_errata"] {
        let start = image.address(table)?;
        for entry in (start..).step_by(size as usize).take(MAX_CAPABILITIES as usize) {
            let (Some(name), Some(number)) = (image.u64_at(entry + desc), image.u64_at(entry + number)) else { break };
            if image.u64_at(entry + of("matches")?) == Some(0) {
                break;
            }
            let text = image.bytes_at(name);
            let end = text.iter().position(|byte| *byte == 0).unwrap_or_default();
            if end > 0 {
                found.insert((String::from_utf8_lossy(&text[..end]).into_owned(), number as u16));
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Patches what depends on the kernel having booted, and on a CPU with these capabilities; all others are absent, as in the linked
/// image.
pub(super) fn finalize(edit: &mut Edit<'_>, named: &[String]) -> Result<(), Error> {
    let mut wanted = BTreeSet::from(ALWAYS);
    if !named.is_empty() {
        let known = capabilities(edit.image())?;
        wanted.extend(known.iter().filter(|(name, _)| named.contains(name)).map(|(_, number)| *number));
    }
    let (Ok(start), Ok(end)) = (edit.address("__alt_instructions"), edit.address("__alt_instructions_end")) else {
        let reason = "alternatives cannot be applied: no symbol `__alt_instructions`";
        // Kernels that know no capability of every CPU (before 6.3) need nothing.
        return if named.is_empty() { Ok(()) } else { Err(edit.refuse(reason)) };
    };
    let nops = edit.address("alt_cb_patch_nops").ok();
    for entry in (start..end.saturating_sub(ENTRY - 1)).step_by(ENTRY as usize) {
        let found = Alternative::read(edit, entry)?;
        let number = found.capability & !CALLBACK;
        if !wanted.contains(&number) {
            continue;
        }
        let is_callback = found.capability & CALLBACK != 0;
        if is_callback && Some(found.alternative) == nops {
            for at in (found.original..found.original + found.size).step_by(4) {
                edit.set_u32(at, NOP)?;
            }
        } else if !is_callback && !ALWAYS.contains(&number) {
            replace(edit, &found)?;
        } else if !is_callback {
            let name = edit.image().symbols.name(found.original);
            return Err(edit.refuse(format!("the alternative at {name} is none that a booted kernel always patches")));
        }
        // Another callback looks at the CPU or its firmware: as it is linked.
    }
    Ok(())
}

/// Copies an alternative over the original instructions. What leads out of it leads to the same place afterwards.
fn replace(edit: &mut Edit<'_>, found: &Alternative) -> Result<(), Error> {
    if found.size != found.alternative_size {
        let name = edit.image().symbols.name(found.original);
        return Err(edit.refuse(format!("the alternative at {name} has another size than what it replaces")));
    }
    let inside = found.alternative..found.alternative + found.size;
    for offset in (0..found.size).step_by(4) {
        let (from, to) = (found.alternative + offset, found.original + offset);
        let word = edit.u32_at(from)?;
        let moved = moved(word, from, to, &|target| inside.contains(&target)).map_err(|reason| {
            let name = edit.image().symbols.name(to);
            edit.refuse(format!("the alternative at {name} {reason}"))
        })?;
        edit.set_u32(to, moved)?;
    }
    Ok(())
}

/// An instruction for another place (arch/arm64/kernel/alternative.c: get_alt_insn).
fn moved(word: u32, from: u64, to: u64, stays: &dyn Fn(u64) -> bool) -> Result<u32, &'static str> {
    // The lowest bit and the width of the distance, in instructions.
    let field = match word {
        _ if word & 0x7c00_0000 == 0x1400_0000 => (0, 26), // b, bl
        _ if word & 0xff00_0000 == 0x5400_0000 => (5, 19), // b.cond
        _ if word & 0x7e00_0000 == 0x3400_0000 => (5, 19), // cbz, cbnz
        _ if word & 0x7e00_0000 == 0x3600_0000 => (5, 14), // tbz, tbnz
        _ if word & 0x1f00_0000 == 0x1000_0000 => return Err("forms an address from its own"), // adr, adrp
        _ if word & 0x3b00_0000 == 0x1800_0000 => return Err("loads a literal"),
        _ => return Ok(word),
    };
    let (low, width) = field;
    let mask = ((1_u32 << width) - 1) << low;
    let distance = i64::from((word & mask) << (32 - width - low)).wrapping_shl(32) >> (64 - width) << 2;
    let target = from.wrapping_add_signed(distance);
    if stays(target) {
        return Ok(word);
    }
    let distance = target.wrapping_sub(to).cast_signed() >> 2;
    if distance << (64 - width) >> (64 - width) != distance {
        return Err("branches too far");
    }
    Ok(word & !mask | (distance as u32) << low & mask)
}

#[cfg(test)]
mod tests {
    use super::super::super::listed;
    use super::moved;

    /// The instruction at 0x1000 of an alternative of 16 bytes, at 0x9000.
    fn at_9000(word: u32) -> Result<String, &'static str> {
        let moved = moved(word, 0x1000, 0x9000, &|target| (0x1000..0x1010).contains(&target))?;
        Ok(listed("arm64", 0x9000, &moved.to_le_bytes()).remove(0))
    }

    #[test]
    fn a_moved_instruction_leads_to_the_same_place() {
        assert_eq!(at_9000(0xd503_201f).as_deref(), Ok("nop"));
        assert_eq!(at_9000(0x1400_0800).as_deref(), Ok("b #0x3000"), "b 0x3000");
        assert_eq!(at_9000(0x97ff_ff00).as_deref(), Ok("bl #0xc00"), "bl 0xc00");
        assert_eq!(at_9000(0x1400_0002).as_deref(), Ok("b #0x9008"), "a branch within stays one");
        assert_eq!(at_9000(0x5400_8000).as_deref(), Ok("b.eq #0x2000"), "b.eq 0x2000");
        assert_eq!(at_9000(0xb4ff_f801).as_deref(), Ok("cbz x1, #0xf00"), "cbz x1, 0xf00");
        assert_eq!(at_9000(0x3708_0200).as_deref(), Ok("tbnz w0, #1, #0x1040"), "32 KiB at most");
        assert_eq!(at_9000(0x370f_ff80), Err("branches too far"), "tbnz w0, #1, 0xff0");
        assert!(at_9000(0x1000_0000).is_err() && at_9000(0x9000_0000).is_err() && at_9000(0x5800_0040).is_err());
    }
}

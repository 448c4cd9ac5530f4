//! One entry of a table at one point, compared with the youngest activation.

use kunwind::{Abi, Entry, Error, Found, Slot, Target as _, UnwindRow};

use crate::cpu::Regs;
use crate::oracle::Activation;
use crate::recording::rows::Part;
use crate::subject::GuestTarget;

/// For each part: `None` if there is nothing to compare it with, else whether it is right, or what is wrong with it.
pub(super) type Judgement = [Option<Result<(), String>>; Part::ALL.len()];

/// Judges a table's entry for the running function. `caller` is the youngest activation; there is none in a function that was
/// entered by a jump at the base of a stack. A row there cannot be judged: no call left the return address that it names.
pub(super) fn judge(entry: &Entry, regs: &Regs, target: &GuestTarget<'_>, caller: Option<&Activation>) -> Judgement {
    match (entry, caller) {
        (Entry::Row(row), Some(caller)) => by_row(row, regs, target, caller),
        (Entry::Outermost, Some(caller)) => {
            let name = caller.place().name(&target.program.guest.symbols);
            [None, Some(Err(format!("says that there is no caller, but it is {name}"))), None]
        }
        (Entry::Outermost, None) => [None, Some(Ok(())), None],
        (Entry::Row(_), None) | (Entry::PtRegs(_) | Entry::NoRow { .. }, _) => [None, None, None],
    }
}

fn by_row(row: &UnwindRow, regs: &Regs, target: &GuestTarget<'_>, caller: &Activation) -> Judgement {
    let abi = target.program.guest.cpu.abi;
    let cfa = match row.cfa.value(regs, &mut |slot| read(slot, target)) {
        Ok(cfa) => cfa,
        Err(error) => return Part::ALL.map(|_| Some(Err(format!("has no CFA: {error}")))),
    };
    [
        Some(same_cfa(cfa, caller.cfa)),
        same_ra(row, cfa, regs, target, caller),
        same_fp(row, cfa, regs, target, caller, abi),
    ]
}

fn same_cfa(cfa: u64, truth: u64) -> Result<(), String> {
    match cfa.wrapping_sub(truth).cast_signed() {
        0 => Ok(()),
        off if off < 0 => Err(format!("is {:#x} too low", off.unsigned_abs())),
        off => Err(format!("is {off:#x} too high")),
    }
}

fn read(slot: Slot, target: &GuestTarget<'_>) -> Result<u64, Error> {
    target.memory.read_u64(slot.address()).ok_or(Error::Unreadable(slot.address()))
}

/// The value that a rule gives.
fn value(found: Result<Option<Found>, Error>) -> Result<u64, String> {
    match found {
        Ok(Some(found)) => Ok(found.value),
        Ok(None) | Err(Error::NoLinkRegister) => Err("is in no register".to_owned()),
        Err(Error::Unreadable(_)) => Err("is where nothing is mapped".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn same_ra(
    row: &UnwindRow,
    cfa: u64,
    regs: &Regs,
    target: &GuestTarget<'_>,
    caller: &Activation,
) -> Option<Result<(), String>> {
    let abi = target.program.guest.cpu.abi;
    let found = row.ra.return_address(cfa, regs, abi, &mut |slot| read(slot, target));
    let found = match value(found.map(Some)) {
        Ok(found) if row.mangled_ra => abi.strip(found),
        Ok(found) => found,
        Err(error) => return Some(Err(error)),
    };
    // A return hook's trampoline: the rule names the right place, but the original address is elsewhere.
    if target.trampoline(found).is_some_and(|trampoline| trampoline.start == found) {
        return None;
    }
    if found == caller.resume {
        return Some(Ok(()));
    }
    let symbols = &target.program.guest.symbols;
    let truth = caller.place().name(symbols);
    // A value that is not code is poison or data; it would only confuse.
    let found = match symbols.function_at(found.wrapping_sub(1)) {
        Some(_) => symbols.name_of_return(found),
        None => "not an address in a function".to_owned(),
    };
    Some(Err(format!("is {found}, not {truth}")))
}

fn same_fp(
    row: &UnwindRow,
    cfa: u64,
    regs: &Regs,
    target: &GuestTarget<'_>,
    caller: &Activation,
    abi: &Abi,
) -> Option<Result<(), String>> {
    let saved = target.program.guest.cpu.fp_index()?;
    let truth = caller.kept(saved)?;
    Some(match value(row.fp.frame_pointer(cfa, regs, abi, &mut |slot| read(slot, target))) {
        Ok(found) if found == truth => Ok(()),
        Ok(found) if regs.get(abi.fp) == Some(found) => Err("is the function's own, not its caller's".to_owned()),
        Ok(_) => Err("is not its caller's".to_owned()),
        Err(error) => Err(error),
    })
}

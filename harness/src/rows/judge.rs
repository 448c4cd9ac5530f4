//! One entry of a table in one frame, compared with the activation that waits for it.

use std::cell::Cell;

use kunwind::{AskTable, Entry, Error, Found, PauthKey, Place, PtRegsRow, Rule, Slot, Table, Target as _, UnwindRow};

use crate::cpu::{Cpu, Regs};
use crate::guest::{Symbols, signed_hex};
use crate::oracle::{Activation, Cause};
use crate::recording::rows::Part;
use crate::subject::GuestTarget;

/// For each part: `None` if there is nothing to compare it with, else whether it is right, or what is wrong with it.
pub(super) type Judgement = [Option<Result<(), String>>; Part::ALL.len()];

/// What an entry gives in a frame, by part; nothing where it gives nothing.
pub(super) type Values = [Vec<Option<u64>>; Part::ALL.len()];

/// A frame whose entry is judged: the running function's, or that of a function that waits for a call to return.
pub(super) struct FrameTruth<'a> {
    pub(super) target: &'a GuestTarget<'a>,
    /// The registers: of a function that waits, as its call found them, but for the link register, which the call has
    /// overwritten.
    pub(super) regs: &'a Regs,
    /// SP less the red zone: what lies below it on its stack may be overwritten by the next interrupt.
    pub(super) live_from: u64,
    /// The key with which the function has signed its return address.
    pub(super) signed: Option<PauthKey>,
    /// Whether that is known.
    pub(super) is_signing_known: bool,
    /// The activation that will resume when the function returns; none in a function that was entered by a jump at the base
    /// of a stack. A row there cannot be judged: no call left the return address that it names.
    pub(super) caller: Option<&'a Activation>,
}

impl FrameTruth<'_> {
    fn cpu(&self) -> &'static Cpu {
        self.target.program.guest.cpu
    }

    fn symbols(&self) -> &Symbols {
        &self.target.program.guest.symbols
    }

    /// Whether the frame record to which the frame pointer points leads to the caller: its return address, and its frame pointer
    /// where that is known. `None` if there is nothing to compare it with.
    pub(super) fn by_frame_pointer(&self) -> Option<bool> {
        let (caller, abi) = (self.caller?, self.cpu().abi);
        let fp = self.regs.get(abi.fp)?;
        let record = fp.wrapping_add_signed(abi.frame_record.offset_from_fp);
        let word = |at: u64| self.target.memory.read_u64(at);
        let truth = self.cpu().fp_index().and_then(|index| caller.kept(index));
        let (Some(found), Some(ra)) = (word(record), word(record.wrapping_add(8))) else { return Some(false) };
        Some([ra, abi.strip(ra)].contains(&caller.resume) && truth.is_none_or(|truth| truth == found))
    }

    /// What an entry of a table gives, right or wrong.
    pub(super) fn values(&self, table: &dyn Table, pc: u64, entry: Option<&Entry>) -> Values {
        let (cpu, memory) = (self.cpu(), self.target.memory);
        let mut read = |slot: Slot| memory.read_u64(slot.address()).ok_or(Error::Unreadable(slot.address()));
        let mut ask = AskTable { table, read: &mut read };
        match entry {
            None | Some(Entry::NoRow { .. }) => Values::default(),
            // Nothing else gives a CFA that is none.
            Some(Entry::Outermost) => [vec![None], Vec::new(), Vec::new(), Vec::new()],
            Some(Entry::PtRegs(row)) => {
                let at = row.at.value(self.regs, &mut ask).ok();
                let at = at.map(|at| if row.is_whole { at } else { at.wrapping_sub(cpu.abi.pt_regs.pc) });
                let word = |offset| at.and_then(|at: u64| memory.read_u64(at.wrapping_add(offset)));
                let of = |register| cpu.abi.pt_regs.registers.iter().find(|(named, _)| *named == register);
                let saved = |register| of(register).and_then(|(_, offset)| word(*offset));
                let fp = saved(cpu.abi.fp).filter(|_| row.is_whole);
                [vec![at, saved(cpu.sp)], vec![word(cpu.abi.pt_regs.pc)], vec![fp], Vec::new()]
            }
            Some(Entry::Row(row)) => {
                let Ok(cfa) = row.cfa.value(self.regs, &mut ask) else { return Values::default() };
                let ra = row.ra.return_address(cfa, self.regs, cpu.abi, &mut ask).map(|found| found.value);
                let ra = ra.map(|ra| if row.mangled_ra { cpu.abi.strip(ra) } else { ra });
                let fp = row.fp.frame_pointer(cfa, self.regs, cpu.abi, &mut ask).ok().flatten();
                let rules = table.saved(pc).unwrap_or_default();
                let of = |register: &kunwind::Register| {
                    rules.iter().find(|(named, _)| named == register).map_or(Rule::Retain, |(_, rule)| *rule)
                };
                let others = [&cpu.sp].into_iter().chain(cpu.callee_saved).filter(|register| **register != cpu.abi.fp);
                let saved = others.map(|register| {
                    let found = of(register).saved(*register, cfa, self.regs, &mut ask).ok().flatten();
                    found.map(|found| found.value)
                });
                let saved = if table.saved(pc).is_some() { saved.collect() } else { Vec::new() };
                [vec![Some(cfa)], vec![ra.ok()], vec![fp.map(|found| found.value)], saved]
            }
        }
    }

    /// Judges what a table has for the pc by which it was asked.
    pub(super) fn judge(&self, table: &dyn Table, pc: u64, entry: &Entry) -> Judgement {
        match (entry, self.caller) {
            (Entry::Row(row), Some(caller)) => self.by_row(table, pc, row, caller),
            (Entry::PtRegs(row), Some(caller)) => self.by_pt_regs(table, row, caller),
            // The kernel's stack ends where it was entered from user mode.
            (Entry::Outermost, Some(caller)) if caller.cause == Cause::UserException => {
                [None, Some(Ok(())), None, None]
            }
            (Entry::Outermost, Some(caller)) => {
                let name = caller.place().name(self.symbols());
                [None, Some(Err(format!("says that there is no caller, but it is {name}"))), None, None]
            }
            (Entry::Outermost, None) => [None, Some(Ok(())), None, None],
            (Entry::Row(_) | Entry::PtRegs(_), None) | (Entry::NoRow { .. }, _) => [None, None, None, None],
        }
    }

    fn by_row(&self, table: &dyn Table, pc: u64, row: &UnwindRow, caller: &Activation) -> Judgement {
        let mut reader = Reader { frame: self, table, dead: Cell::new(None) };
        let cfa = match reader.evaluate(|ask| row.cfa.value(self.regs, ask)) {
            Ok(cfa) => cfa,
            Err(error) => {
                let error = Some(Err(format!("has no CFA: {error}")));
                let saved = table.saved(pc).and(error.clone());
                return [error.clone(), error.clone(), error, saved];
            }
        };
        let sp = table.saved(pc).and_then(|rules| rules.iter().find(|(register, _)| *register == self.cpu().sp));
        let sp = match sp {
            Some((register, rule)) => reader
                .evaluate(|ask| rule.saved(*register, cfa, self.regs, ask))
                .map(|found| found.map_or(cfa, |found| found.value)),
            None => Ok(cfa),
        };
        [
            Some(sp.and_then(|sp| same_cfa(sp, caller.cfa))),
            self.same_ra((table, pc), row, cfa, &mut reader, caller),
            self.same_fp(row, cfa, &mut reader, caller),
            table.saved(pc).and_then(|rules| self.same_saved(rules, cfa, &mut reader, caller)),
        ]
    }

    /// Where an exception saved the registers: they must be those of the interrupted code.
    fn by_pt_regs(&self, table: &dyn Table, row: &PtRegsRow, caller: &Activation) -> Judgement {
        if caller.cause == Cause::Call {
            let name = caller.place().name(self.symbols());
            let error = format!("says that an exception saved registers here, but {name} made a call");
            return [None, Some(Err(error)), None, None];
        }
        let layout = &self.cpu().abi.pt_regs;
        let mut reader = Reader { frame: self, table, dead: Cell::new(None) };
        let at = match reader.evaluate(|ask| row.at.value(self.regs, ask)) {
            // Of what the CPU itself pushed, the row names the first word, which is the pc.
            Ok(at) if !row.is_whole => at.wrapping_sub(layout.pc),
            Ok(at) => at,
            Err(error) => return [Some(Err(format!("has no pt_regs: {error}"))), None, None, None],
        };
        let mut word = |offset: u64| reader.evaluate(|ask| kunwind::Ask::word(ask, Slot::Ra(at.wrapping_add(offset))));
        let sp = layout.registers.iter().find(|(register, _)| *register == self.cpu().sp);
        let cfa = sp.map(|(_, offset)| word(*offset).and_then(|sp| same_cfa(sp, caller.cfa)));
        let ra = word(layout.pc).and_then(|pc| match pc == caller.resume {
            true => Ok(()),
            false => Err(self.other_address(pc, caller)),
        });
        let fp = match row.fp {
            Rule::Retain if row.is_whole && caller.cause != Cause::UserException => {
                let own = layout.registers.iter().find(|(register, _)| *register == self.cpu().abi.fp);
                own.and_then(|(_, offset)| {
                    let truth = caller.saved[self.cpu().fp_index()?];
                    Some(
                        word(*offset)
                            .and_then(|fp| if fp == truth { Ok(()) } else { Err("is not its caller's".to_owned()) }),
                    )
                })
            }
            // Whether an earlier entry saved it or it is still in its register depends on the frames before.
            _ => None,
        };
        [cfa, Some(ra), fp, None]
    }

    fn same_ra(
        &self,
        (table, pc): (&dyn Table, u64),
        row: &UnwindRow,
        cfa: u64,
        reader: &mut Reader<'_>,
        caller: &Activation,
    ) -> Option<Result<(), String>> {
        let abi = self.cpu().abi;
        let raw = match reader.evaluate(|ask| row.ra.return_address(cfa, self.regs, abi, ask)) {
            Ok(found) => found.value,
            Err(error) => return Some(Err(error)),
        };
        let found = if row.mangled_ra { abi.strip(raw) } else { raw };
        // A return hook's trampoline: the rule names the right place, but the original address is elsewhere.
        if self.target.trampoline(found).is_some_and(|trampoline| trampoline.start == found) {
            return None;
        }
        if let Some(key) =
            self.signed.filter(|_| self.is_signing_known && !row.mangled_ra && abi.strip(raw) == caller.resume)
        {
            return Some(Err(format!("is said not to be signed, but is, with key {key:?}")));
        }
        if found != caller.resume {
            return Some(Err(self.other_address(found, caller)));
        }
        if !self.is_signing_known {
            return Some(Ok(()));
        }
        let said = row.mangled_ra.then(|| table.pauth_key(pc));
        Some(match (said, self.signed) {
            (Some(_), None) => Err("is said to be signed, and is not".to_owned()),
            (Some(said), Some(key)) if said != key => {
                Err(format!("is said to be signed with key {said:?}, but is with key {key:?}"))
            }
            _ => Ok(()),
        })
    }

    fn other_address(&self, found: u64, caller: &Activation) -> String {
        let symbols = self.symbols();
        let truth = caller.place().name(symbols);
        // A value that is not code is poison or data; it would only confuse.
        let found = match symbols.function_at(found.wrapping_sub(1)) {
            Some(_) => symbols.name_of_return(found),
            None => "not an address in a function".to_owned(),
        };
        format!("is {found}, not {truth}")
    }

    fn same_fp(
        &self,
        row: &UnwindRow,
        cfa: u64,
        reader: &mut Reader<'_>,
        caller: &Activation,
    ) -> Option<Result<(), String>> {
        let abi = self.cpu().abi;
        let truth = caller.kept(self.cpu().fp_index()?)?;
        // What is said to be lost is no claim that could be right or wrong.
        if row.fp == Rule::Undefined {
            return None;
        }
        let found = reader.evaluate(|ask| row.fp.frame_pointer(cfa, self.regs, abi, ask));
        Some(found.and_then(|found| match found {
            None => Err("is in no register".to_owned()),
            Some(found) if found.value == truth => Ok(()),
            Some(found) if self.regs.get(abi.fp) == Some(found.value) => {
                Err("is the function's own, not its caller's".to_owned())
            }
            Some(_) => Err("is not its caller's".to_owned()),
        }))
    }

    /// The callee-saved registers other than the frame pointer: each by its rule, and those without one unchanged. Nothing if one
    /// is said to be lost, and none is wrong: that is no claim that could be right or wrong.
    fn same_saved(
        &self,
        rules: &[(kunwind::Register, Rule)],
        cfa: u64,
        reader: &mut Reader<'_>,
        caller: &Activation,
    ) -> Option<Result<(), String>> {
        let cpu = self.cpu();
        let mut is_lost = false;
        for (index, register) in cpu.callee_saved.iter().enumerate() {
            // What the call need not preserve is nobody's to recover.
            let Some(truth) = caller.kept(index).filter(|_| *register != cpu.abi.fp) else { continue };
            let rule = rules.iter().find(|(named, _)| named == register).map_or(Rule::Retain, |(_, rule)| *rule);
            let name = cpu.abi.register_name(*register);
            let found: Result<Option<Found>, String> = reader
                .evaluate(|ask| rule.saved(*register, cfa, self.regs, ask))
                .map_err(|error| format!("{name} {error}"));
            let found = match found {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            match found {
                None => is_lost = true,
                Some(found) if found.value == truth => {}
                Some(Found { place: Place::Memory(at), .. }) => {
                    let off = signed_hex(at.wrapping_sub(cfa).cast_signed());
                    return Some(Err(format!("{name} is not in the word at CFA{off}")));
                }
                Some(_) if rule == Rule::Retain => {
                    return Some(Err(format!("{name} is the function's own, not its caller's")));
                }
                Some(_) => return Some(Err(format!("{name} is not its caller's"))),
            }
        }
        (!is_lost).then_some(Ok(()))
    }

    /// Whether a word lies on the frame's stack, below what an interrupt leaves alone.
    fn is_dead(&self, address: u64) -> bool {
        let layout = &self.target.program.layout;
        let sp = self.regs.get(self.cpu().sp).unwrap_or_default();
        address < self.live_from && layout.stack_of(address) == layout.stack_of(sp)
    }
}

fn same_cfa(cfa: u64, truth: u64) -> Result<(), String> {
    match cfa.wrapping_sub(truth).cast_signed() {
        0 => Ok(()),
        off if off < 0 => Err(format!("is {:#x} too low", off.unsigned_abs())),
        off => Err(format!("is {off:#x} too high")),
    }
}

/// Evaluates rules, and notices where an answer depends on memory that is not the frame's any more.
struct Reader<'a> {
    frame: &'a FrameTruth<'a>,
    table: &'a dyn Table,
    /// The dead word that was read first.
    dead: Cell<Option<u64>>,
}

impl Reader<'_> {
    /// What a rule gives, or what is wrong with it.
    fn evaluate<T>(
        &mut self,
        rule: impl FnOnce(&mut AskTable<'_, &mut dyn FnMut(Slot) -> Result<u64, Error>>) -> Result<T, Error>,
    ) -> Result<T, String> {
        let Self { frame, table, dead } = self;
        dead.set(None);
        let mut read = |slot: Slot| {
            let at = slot.address();
            if frame.is_dead(at) && dead.get().is_none() {
                dead.set(Some(at));
            }
            frame.target.memory.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let result = rule(&mut AskTable { table: *table, read: &mut read });
        let value = result.map_err(|error| match error {
            Error::NoLinkRegister => "is in no register".to_owned(),
            Error::Unreadable(_) => "is where nothing is mapped".to_owned(),
            Error::NoRegister(register) => {
                format!("is counted from {}, which is not known", frame.cpu().abi.register_name(register))
            }
            error => error.to_string(),
        })?;
        match dead.get() {
            Some(at) => {
                let below = frame.regs.get(frame.cpu().sp).unwrap_or_default().wrapping_sub(at);
                Err(format!("is read {below:#x} below SP, where the next interrupt may overwrite it"))
            }
            None => Ok(value),
        }
    }
}

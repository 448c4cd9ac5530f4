//! A plain evaluator of CFI: the rows that the crate gimli, version 0.33, finds for an address, applied to registers, and nothing else.
//! It shares no code with the tables of `kunwind`. Where it is wrong, the data are: it is the null test of unwinders of others
//! (`cargo xtask conformance`). Only with the cargo feature `gimli`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, EhFrame, Encoding, EndianArcSlice, Evaluation, EvaluationResult, Format,
    FrameDescriptionEntry, LittleEndian, Location, RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
};
use kunwind::Target as _;

use super::{About, Claim, Claims, Compares, End, Entry, Outcome, Question, Scope, Subject, Told, told};
use crate::cpu::{CodeAddress, Cpu, Register, Regs};
use crate::guest::Guest;

type Bytes = EndianArcSlice<LittleEndian>;

/// What DWARF expressions in unwind data are encoded for: 64 bits.
const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 5 };

/// arm64's pseudo-register RA_SIGN_STATE (AADWARF64, 4.1), which DW_CFA_AARCH64_negate_ra_state toggles.
const SIGN_STATE: u16 = 34;

/// The evaluator.
pub(super) struct GimliSubject {
    about: About,
    cpu: &'static Cpu,
    state: Mutex<Told<Data>>,
}

/// The CFI of a guest, and what has been found in it.
struct Data {
    eh_frame: Vec<(BaseAddresses, EhFrame<Bytes>)>,
    debug_frame: Vec<DebugFrame<Bytes>>,
    /// The description of the code at an address: none is remembered, too.
    known: HashMap<u64, Option<Found>>,
}

/// Where code is described.
#[derive(Clone)]
enum Found {
    Eh(usize, FrameDescriptionEntry<Bytes>),
    Debug(usize, FrameDescriptionEntry<Bytes>),
}

/// A caller.
struct Caller {
    pc: CodeAddress,
    regs: Regs,
}

impl GimliSubject {
    /// On a CPU.
    pub(super) fn new(cpu: &'static Cpu) -> Self {
        let about = About {
            claims: Claims::ByEnd,
            compares: Compares { cfa: true, fp: true, callee_saved: true },
            scope: Scope::Program,
            ..About::of_others("gimli".to_owned(), cpu)
        };
        Self { about, cpu, state: Mutex::new(None) }
    }

    /// The caller of a frame; `None`, if it has none.
    fn caller(&self, data: &mut Data, from: &Caller, question: &Question<'_>) -> Result<Option<Caller>, String> {
        let address = from.pc.lookup();
        let found = data.find(address).ok_or_else(|| format!("no unwind data for {address:#x}"))?;
        let mut context = UnwindContext::new();
        let step = Step { cpu: self.cpu, regs: &from.regs, question };
        let no_row = |error: gimli::Error| format!("{address:#x}: {error}");
        match found {
            Found::Eh(index, fde) => {
                let (bases, section) = &data.eh_frame[index];
                let row = fde.unwind_info_for_address(section, bases, &mut context, address).map_err(no_row)?;
                let evaluate = |it: &UnwindExpression<usize>, start| step.evaluate(it.get(section), start);
                step.apply(row, &fde, &evaluate)
            }
            Found::Debug(index, fde) => {
                let section = &data.debug_frame[index];
                let bases = BaseAddresses::default();
                let row = fde.unwind_info_for_address(section, &bases, &mut context, address).map_err(no_row)?;
                let evaluate = |it: &UnwindExpression<usize>, start| step.evaluate(it.get(section), start);
                step.apply(row, &fde, &evaluate)
            }
        }
    }
}

impl Data {
    fn new(guest: &Guest) -> Self {
        let bytes = |data: &[u8]| Bytes::new(Arc::from(data), LittleEndian);
        let vendor = if guest.cpu.can_sign() { gimli::Vendor::AArch64 } else { gimli::Vendor::Default };
        let text = guest.segments.iter().find(|segment| segment.executable).map_or(0, |segment| segment.address);
        let eh_frame = guest.unwind.eh_frame.iter().map(|section| {
            let mut data = EhFrame::from(bytes(&section.data));
            data.set_address_size(8);
            data.set_vendor(vendor);
            (BaseAddresses::default().set_eh_frame(section.address).set_text(text), data)
        });
        let debug_frame = guest.unwind.debug_frame.iter().map(|section| {
            let mut data = DebugFrame::from(bytes(&section.data));
            data.set_address_size(8);
            data.set_vendor(vendor);
            data
        });
        Self { eh_frame: eh_frame.collect(), debug_frame: debug_frame.collect(), known: HashMap::new() }
    }

    /// The description of the code at an address: the first one that there is.
    fn find(&mut self, address: u64) -> Option<Found> {
        if let Some(found) = self.known.get(&address) {
            return found.clone();
        }
        let eh = self.eh_frame.iter().enumerate().find_map(|(index, (bases, section))| {
            let fde = section.fde_for_address(bases, address, EhFrame::cie_from_offset).ok()?;
            Some(Found::Eh(index, fde))
        });
        let found = eh.or_else(|| {
            self.debug_frame.iter().enumerate().find_map(|(index, section)| {
                let bases = BaseAddresses::default();
                let fde = section.fde_for_address(&bases, address, DebugFrame::cie_from_offset).ok()?;
                Some(Found::Debug(index, fde))
            })
        });
        self.known.insert(address, found.clone());
        found
    }
}

/// A frame whose caller is wanted.
struct Step<'a> {
    cpu: &'static Cpu,
    regs: &'a Regs,
    question: &'a Question<'a>,
}

/// Evaluates an expression, with this value on its stack.
type Evaluate<'e> = dyn Fn(&UnwindExpression<usize>, Option<u64>) -> Result<u64, String> + 'e;

impl Step<'_> {
    fn register(&self, number: u16) -> Result<u64, String> {
        let known = u8::try_from(number).ok().and_then(|number| self.regs.get(Register(number)));
        known.ok_or_else(|| format!("the value of register {number} is not known"))
    }

    fn read(&self, address: u64) -> Result<u64, String> {
        self.question.target.read_u64(address).ok_or_else(|| format!("{address:#x} cannot be read"))
    }

    /// The caller, by the row of a frame.
    fn apply(
        &self,
        row: &gimli::UnwindTableRow<usize>,
        fde: &FrameDescriptionEntry<Bytes>,
        evaluate: &Evaluate<'_>,
    ) -> Result<Option<Caller>, String> {
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => self.register(register.0)?.wrapping_add_signed(*offset),
            CfaRule::Expression(expression) => evaluate(expression, None)?,
        };
        let return_address = fde.cie().return_address_register().0;
        // Without a rule, a register is as the ABI has it (DWARF 5, 6.4.1): a function preserves some, and others are anybody's.
        let is_kept = |number: u16| {
            let is_it = |register: &Register| u16::from(register.0) == number;
            number == return_address || self.cpu.callee_saved.iter().any(is_it)
        };
        let value = |number: u16| match row.register(gimli::Register(number)) {
            Some(RegisterRule::SameValue) => self.register(number).map(Some),
            None if is_kept(number) => self.register(number).map(Some),
            None | Some(RegisterRule::Undefined) => Ok(None),
            Some(RegisterRule::Offset(offset)) => self.read(cfa.wrapping_add_signed(offset)).map(Some),
            Some(RegisterRule::ValOffset(offset)) => Ok(Some(cfa.wrapping_add_signed(offset))),
            Some(RegisterRule::Register(other)) => self.register(other.0).map(Some),
            Some(RegisterRule::Expression(it)) => self.read(evaluate(&it, Some(cfa))?).map(Some),
            Some(RegisterRule::ValExpression(it)) => evaluate(&it, Some(cfa)).map(Some),
            Some(RegisterRule::Constant(constant)) => Ok(Some(constant)),
            Some(other) => Err(format!("register {number}: {other:?} is not understood")),
        };
        let Some(mut pc) = value(return_address)? else { return Ok(None) };
        let is_signed = matches!(row.register(gimli::Register(SIGN_STATE)), Some(RegisterRule::Constant(1)));
        if self.cpu.can_sign() && is_signed {
            // The bits of the signature are those above the address, which bit 55 chooses the half of (Arm ARM, D8.10).
            pc = if pc & 1 << 55 == 0 { pc & (u64::MAX >> 16) } else { pc | !(u64::MAX >> 16) };
        }
        let mut regs = Regs::none();
        for number in 0..self.cpu.registers {
            // A register that cannot be restored is not known, and that is an error for who needs it.
            if let Ok(Some(value)) = value(u16::from(number)) {
                regs.set(Register(number), value);
            }
        }
        if row.register(gimli::Register(u16::from(self.cpu.sp.0))).is_none() {
            regs.set(self.cpu.sp, cfa);
        }
        let pc = if fde.cie().is_signal_trampoline() { CodeAddress::Interrupted(pc) } else { CodeAddress::Return(pc) };
        Ok(Some(Caller { pc, regs }))
    }

    fn evaluate(&self, expression: gimli::Result<gimli::Expression<Bytes>>, start: Option<u64>) -> Result<u64, String> {
        let because = |error: gimli::Error| format!("expression: {error}");
        let mut evaluation: Evaluation<Bytes> = expression.map_err(because)?.evaluation(ENCODING);
        if let Some(start) = start {
            evaluation.set_initial_value(start);
        }
        evaluation.set_max_iterations(1000);
        let mut result = evaluation.evaluate().map_err(because)?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = self.register(register.0)?;
                    evaluation.resume_with_register(gimli::Value::Generic(value)).map_err(because)?
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    let value = self.read(address)?;
                    evaluation.resume_with_memory(gimli::Value::Generic(value)).map_err(because)?
                }
                other => return Err(format!("expression: {other:?} is not understood")),
            };
        }
        match evaluation.result().first().map(|piece| &piece.location) {
            Some(Location::Address { address }) => Ok(*address),
            other => Err(format!("expression: its result is {other:?}")),
        }
    }
}

impl Subject for GimliSubject {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let data = told(&mut state, &question.target.program.guest, Data::new);
        let stopped = Outcome { end: End::Stopped, claim: Claim::Unreliable };
        let mut at = Caller { pc: question.pc, regs: *question.regs };
        loop {
            if each(&Entry { pc: at.pc, regs: &at.regs, source: &"gimli", progress: None }).is_break() {
                return Outcome { end: End::Full, claim: Claim::Unreliable };
            }
            match self.caller(data, &at, question) {
                Ok(Some(caller)) => at = caller,
                Ok(None) => return Outcome { end: End::Outermost, claim: Claim::Reliable },
                Err(reason) => {
                    question.say(reason);
                    return stopped;
                }
            }
        }
    }
}

impl std::fmt::Debug for GimliSubject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GimliSubject").field("cpu", &self.cpu.name).finish_non_exhaustive()
    }
}

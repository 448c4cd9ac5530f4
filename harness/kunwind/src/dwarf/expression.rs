//! DWARF expressions in the rules of a row, evaluated by gimli (DWARF 5, 2.5 and 6.4.2).

use gimli::{EndianSlice, EvaluationResult, EvaluationStorage, Piece, RunTimeEndian, Value};

use crate::error::Error;
use crate::regs::{Register, Regs};
use crate::row::Slot;

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// How deep the stack of an expression may become. Those of compilers need four.
const MAX_DEPTH: usize = 32;
/// How many operations may be executed, so that a loop (`DW_OP_skip`) ends.
const MAX_OPERATIONS: u32 = 1000;

/// Fixed arrays for gimli's evaluation.
struct Fixed;

impl<'a> EvaluationStorage<Slice<'a>> for Fixed {
    type Stack = [Value; MAX_DEPTH];
    type ExpressionStack = [(Slice<'a>, Slice<'a>); 1];
    type Result = [Piece<Slice<'a>>; 1];
}

/// What an expression gives for a frame with these registers: an address or a value, as its rule says. `cfa` is on the
/// stack first, if there is one.
///
/// # Errors
///
/// [`Error::BadExpression`] when it is malformed, too long or too deep, or asks for something that a frame has not got
/// (DWARF 5, 6.4.2 forbids most of that); [`Error::NoRegister`] when it names a register that is not known; or the error
/// of `read`.
pub fn evaluate(
    bytes: &[u8],
    is_big_endian: bool,
    cfa: Option<u64>,
    regs: &Regs,
    read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
) -> Result<u64, Error> {
    let endian = if is_big_endian { RunTimeEndian::Big } else { RunTimeEndian::Little };
    // The operations that depend on the version or the format are not allowed in call frame information.
    let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let mut evaluation = gimli::Evaluation::<_, Fixed>::new_in(EndianSlice::new(bytes, endian), encoding);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(cfa) = cfa {
        mutant!("expression-without-initial-cfa", evaluation.set_initial_value(cfa), ());
    }
    let mut state = evaluation.evaluate();
    loop {
        state = match state.map_err(|_| Error::BadExpression)? {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size, space: None, base_type } if base_type.0 == 0 => {
                let word = read(Slot::Operand(address))?;
                evaluation.resume_with_memory(Value::Generic(mutant!(
                    "expression-whole-words",
                    low_bytes(word, size, is_big_endian),
                    word
                )))
            }
            EvaluationResult::RequiresRegister { register, base_type } if base_type.0 == 0 => {
                let register = u8::try_from(register.0).map(Register).map_err(|_| Error::BadExpression)?;
                let value = regs.get(register).ok_or(Error::NoRegister(register))?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            _ => return Err(Error::BadExpression),
        };
    }
    // Nothing but a plain value may be left: `DW_OP_piece` and registers as locations have no meaning here.
    match evaluation.as_result() {
        [Piece { size_in_bits: None, location: gimli::Location::Address { address }, .. }] => Ok(*address),
        _ => Err(Error::BadExpression),
    }
}

/// The first `size` bytes of a word in memory, as a number.
const fn low_bytes(word: u64, size: u8, is_big_endian: bool) -> u64 {
    if size == 0 || size >= 8 {
        return word;
    }
    let unused = 64 - 8 * size as u32;
    if is_big_endian { word >> unused } else { word << unused >> unused }
}

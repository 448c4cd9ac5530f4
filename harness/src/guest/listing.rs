//! Symbol-relative disassembly, which the listings annotate with verdicts. A function is disassembled on first use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use capstone::Capstone;

use super::{Guest, Symbol};
use crate::Error;
use crate::cpu::{Flow, FlowKind};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Mnemonic and operands; guest addresses appear as symbol+offset, so that a listing survives relinking.
    pub text: String,
    /// What it does to the flow of control.
    pub flow: Flow,
}

/// The functions of a guest, each disassembled on first use.
pub struct Listing {
    guest: Arc<Guest>,
    capstone: Capstone,
    lines: Arc<Lines>,
}

/// The lines of each function, by its index in [`super::Symbols::functions`].
type Lines = Vec<OnceLock<Vec<Line>>>;

/// The lines of the guests that were loaded last, by their hashes, for runs that load the same file again: one after the other, or at the
/// same time on several threads.
#[derive(Debug, Clone, Default)]
pub struct Listings(Arc<Mutex<LastLines>>);

/// The lines of guests by the hash of the guest, those that were used last at the end.
type LastLines = VecDeque<(String, Arc<Lines>)>;

/// How many guests have their lines kept: those of a run of everything would take 100 MB.
const KEPT: usize = 8;

impl Listings {
    /// Those of a guest that is as it was loaded from its file, which its hash stands for.
    fn of(&self, guest: &Guest) -> Arc<Lines> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().position(|(hash, _)| *hash == guest.hash).and_then(|index| known.remove(index));
        let (hash, lines) = found.unwrap_or_else(|| (guest.hash.clone(), unlisted(guest)));
        known.push_back((hash, Arc::clone(&lines)));
        if known.len() > KEPT {
            known.pop_front();
        }
        lines
    }
}

/// No lines yet.
fn unlisted(guest: &Guest) -> Arc<Lines> {
    Arc::new(vec![OnceLock::new(); guest.symbols.functions().len()])
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Listing").field("guest", &self.guest.name).finish_non_exhaustive()
    }
}

impl Listing {
    /// A listing of a guest. Disassembles nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when capstone cannot be set up.
    pub fn new(guest: Arc<Guest>) -> Result<Self, Error> {
        let lines = unlisted(&guest);
        Self::with_lines(guest, lines)
    }

    /// A listing of a guest that nobody has changed since it was loaded from its file. What others of these have disassembled, it has
    /// too.
    ///
    /// # Errors
    ///
    /// As [`Listing::new`].
    pub fn shared(guest: Arc<Guest>, listings: &Listings) -> Result<Self, Error> {
        let lines = listings.of(&guest);
        Self::with_lines(guest, lines)
    }

    fn with_lines(guest: Arc<Guest>, lines: Arc<Lines>) -> Result<Self, Error> {
        let refused =
            |error: capstone::Error| Error::Emulator { doing: "open the disassembler", reason: error.to_string() };
        let mut capstone = guest.cpu.disassembler().map_err(refused)?;
        capstone.set_detail(false).map_err(refused)?;
        Ok(Self { guest, capstone, lines })
    }

    /// The instructions of the function at this index in [`super::Symbols::functions`]. Bytes that are not an instruction
    /// appear as `.byte`.
    fn of_index(&self, index: usize) -> &[Line] {
        self.lines[index].get_or_init(|| {
            let (function, code) = self.code(index);
            let mut decoded = Vec::new();
            let mut offset = 0;
            while offset < code.len() {
                let address = function.address + offset as u64;
                let instruction = decode(&self.guest, &self.capstone, address, &code[offset..]);
                offset += instruction.size as usize;
                decoded.push(instruction);
            }
            let column = decoded.iter().map(|instruction| instruction.mnemonic.len()).max().unwrap_or(0);
            let line = |decoded: Decoded| {
                let Decoded { address, size, mnemonic, operands, flow } = decoded;
                let text = format!("{mnemonic:<column$}  {operands}").trim_end().to_owned();
                Line { address, size, text, flow }
            };
            decoded.into_iter().map(line).collect()
        })
    }

    /// The function at an index, and its bytes.
    fn code(&self, index: usize) -> (&Symbol, &[u8]) {
        let functions = self.guest.symbols.functions();
        let function = &functions[index];
        // Where functions overlap, the bytes belong to the one that starts last.
        let next = functions.get(index + 1).map_or(u64::MAX, |next| next.address);
        let code = self.guest.bytes_at(function.address);
        (function, &code[..code.len().min(function.size.min(next - function.address) as usize)])
    }

    /// The instructions of the function at an index: where each is, and what it does to the flow of control. Nothing is disassembled
    /// for them.
    fn kinds_of(&self, index: usize) -> impl Iterator<Item = (u64, FlowKind)> {
        let (function, code) = self.code(index);
        let mut offset = 0;
        std::iter::from_fn(move || {
            let bytes = code.get(offset..).filter(|bytes| !bytes.is_empty())?;
            let address = function.address + offset as u64;
            let shape = self.guest.cpu.shape(bytes);
            offset += shape.map_or(1, |shape| shape.size);
            Some((address, shape.map_or(FlowKind::Sequential, |shape| shape.kind)))
        })
    }

    /// The instructions of all functions, by address: where each is, and what it does to the flow of control. Nothing is disassembled
    /// for them.
    pub fn kinds(&self) -> impl Iterator<Item = (u64, FlowKind)> {
        (0..self.lines.len()).flat_map(|index| self.kinds_of(index))
    }

    /// The instructions of a function.
    #[must_use]
    pub fn of(&self, function: &Symbol) -> &[Line] {
        self.guest.symbols.index_at(function.address).map_or(&[], |index| self.of_index(index))
    }

    /// The instruction at an address.
    #[must_use]
    pub fn line(&self, address: u64) -> Option<&Line> {
        let lines = self.of_index(self.guest.symbols.index_at(address)?);
        lines.binary_search_by_key(&address, |line| line.address).ok().map(|index| &lines[index])
    }

    /// The address of the instruction before this one in its function.
    #[must_use]
    pub fn before(&self, address: u64) -> Option<u64> {
        let mut before = None;
        for (at, _) in self.kinds_of(self.guest.symbols.index_at(address)?) {
            if at >= address {
                return before.filter(|_| at == address);
            }
            before = Some(at);
        }
        None
    }

    /// The number of functions that have been disassembled so far.
    #[must_use]
    pub fn disassembled(&self) -> usize {
        self.lines.iter().filter(|function| function.get().is_some()).count()
    }

    /// The instructions of all functions, by address. Disassembles each function when the iterator reaches it.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        (0..self.lines.len()).flat_map(|index| self.of_index(index))
    }
}

/// An instruction before its columns are known.
struct Decoded {
    address: u64,
    size: u64,
    mnemonic: String,
    operands: String,
    flow: Flow,
}

fn decode(guest: &Guest, capstone: &Capstone, address: u64, bytes: &[u8]) -> Decoded {
    let decoded = capstone.disasm_count(bytes, address, 1).ok();
    let Some(instruction) = decoded.as_ref().and_then(|instructions| instructions.first()) else {
        let (mnemonic, operands) = (".byte".to_owned(), format!("{:#04x}", bytes[0]));
        return Decoded { address, size: 1, mnemonic, operands, flow: Flow::SEQUENTIAL };
    };
    let flow = guest.cpu.flow(address, bytes);
    let mnemonic = instruction.mnemonic().unwrap_or_default().to_owned();
    let operands = symbolic(guest, flow.target, instruction.op_str().unwrap_or_default());
    Decoded { address, size: instruction.len() as u64, mnemonic, operands, flow }
}

/// Replaces guest addresses in operands by names: the target of a direct transfer (which some disassemblers print as an
/// offset), and any number that is an address in the image.
fn symbolic(guest: &Guest, target: Option<u64>, operands: &str) -> String {
    let mut parts: Vec<String> = operands.split(", ").map(str::to_owned).collect();
    let count = parts.len();
    for (index, part) in parts.iter_mut().enumerate() {
        let digits = part.trim_start_matches(['#', '$']);
        let number = digits.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let address = match target {
            Some(target) if index + 1 == count => Some(target),
            _ => number.filter(|number| !guest.bytes_at(*number).is_empty()),
        };
        if let Some(address) = address {
            *part = data_name(guest, address);
        }
    }
    parts.join(", ")
}

/// A function with an offset, or the nearest symbol of data.
fn data_name(guest: &Guest, address: u64) -> String {
    match guest.symbols.function_at(address) {
        Some(function) if function.address == address => function.name.clone(),
        Some(_) => guest.symbols.name(address),
        None => guest.symbols.name_of_data(address),
    }
}

//! Symbol-relative disassembly: the page on which verdicts are written.

use std::collections::BTreeMap;

use capstone::Capstone;

use crate::Error;
use crate::arch::Flow;
use crate::guest::Guest;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Mnemonic and operands; addresses of the guest as symbol+offset, so that a listing survives relinking.
    pub text: String,
    /// What it does to the flow of control.
    pub flow: Flow,
}

/// All functions of a guest, disassembled.
#[derive(Debug)]
pub struct Listing {
    lines: BTreeMap<u64, Line>,
}

impl Listing {
    /// Disassembles every function. Bytes that are no instruction appear as `.byte`.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when capstone cannot be set up.
    pub fn new(guest: &Guest) -> Result<Self, Error> {
        let refused =
            |error: capstone::Error| Error::Emulator { doing: "open the disassembler", reason: error.to_string() };
        let mut capstone = guest.arch.disassembler().map_err(refused)?;
        capstone.set_detail(false).map_err(refused)?;
        let mut decoded = Vec::new();
        for function in guest.symbols.functions() {
            let code = guest.bytes_at(function.address);
            let code = &code[..code.len().min(function.size as usize)];
            let mut offset = 0;
            while offset < code.len() {
                let instruction = decode(guest, &capstone, function.address + offset as u64, &code[offset..]);
                offset += instruction.size as usize;
                decoded.push(instruction);
            }
        }
        let column = decoded.iter().map(|instruction| instruction.mnemonic.len()).max().unwrap_or(0);
        let lines = decoded.into_iter().map(|instruction| {
            let Decoded { address, size, mnemonic, operands, flow } = instruction;
            let text = format!("{mnemonic:<column$}  {operands}").trim_end().to_owned();
            (address, Line { address, size, text, flow })
        });
        Ok(Self { lines: lines.collect() })
    }

    /// The instruction at an address.
    #[must_use]
    pub fn line(&self, address: u64) -> Option<&Line> {
        self.lines.get(&address)
    }

    /// The instructions, by address.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    /// The instructions in a range of addresses.
    pub fn range(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = &Line> {
        self.lines.range(range).map(|(_, line)| line)
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
    let flow = guest.arch.flow(address, bytes);
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

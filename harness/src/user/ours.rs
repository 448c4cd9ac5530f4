//! Functions of ours beside a program: the one that calls what is asked for, and those that can be passed to it. They have frames
//! and CFI, so that walks get past them.

use super::link::{Code, OfCpu, TlsFunctions};
use super::module::STUB_SIZE;
use crate::guest::{LoadedSection, PAGE, Segment, Symbol};

/// Where our code begins.
const CODE: u64 = 0x6000_0000;
/// Where our data begins: its first word is the address that is called.
pub(super) const DATA: u64 = CODE + 0x1_0000;
/// How far apart our functions are, in bytes.
const SLOT: u64 = 0x80;
/// What TLS descriptors call.
const TLS_DESCRIPTOR: u64 = CODE + SLOT;

/// `__tls_get_addr`, where no file has it.
const TLS_GET_ADDR: u64 = CODE + SLOT * (2 + CALLBACKS.len() as u64);
/// Where stubs are that jump to IFUNCs whose addresses are passed; and the words through which they jump.
const STUBS: u64 = TLS_GET_ADDR + SLOT;
const STUB_WORDS: u64 = DATA + 0x100;
/// How many of them there may be.
pub(super) const MAX_STUBS: usize = 32;

/// Where the functions are that find thread-local variables.
pub(super) const TLS: TlsFunctions = TlsFunctions { descriptor: TLS_DESCRIPTOR, get_addr: TLS_GET_ADDR };

/// The stub of this number, and the word through which it jumps.
pub(super) const fn stub(number: usize) -> (u64, u64) {
    (STUBS + STUB_SIZE * number as u64, STUB_WORDS + 8 * number as u64)
}

/// The names of the functions that can be passed as arguments.
pub(super) const CALLBACKS: [&str; 5] = ["compare-int", "compare-long", "compare-byte", "compare-str", "zero"];

/// What stands before the name of a function of ours, where it is asked for: `fn:zero`.
pub const CALLBACK: &str = "fn:";

/// The name of the function that calls.
pub const CALLER: &str = "harness_caller";

/// Where the run begins.
pub(super) const START: u64 = CODE;

/// Where the run ends: after the instruction at which the caller resumes, so that this is seen.
pub(super) const fn sentinel(code: &Code) -> u64 {
    CODE + code.call.len() as u64 + code.nop.len() as u64
}

/// The address of a callback.
pub(super) fn callback(name: &str) -> Option<u64> {
    let index = CALLBACKS.iter().position(|known| *known == name)?;
    Some(CODE + SLOT * (index as u64 + 2))
}

/// The names of all callbacks, for messages.
pub(super) fn callbacks() -> String {
    CALLBACKS.map(|name| format!("fn:{name}")).join(", ")
}

/// The code, its symbols and its CFI; with a stub for each of these IFUNCs.
pub(super) fn code(of_cpu: &dyn OfCpu, stubs: &[String]) -> (Segment, Vec<Symbol>, LoadedSection) {
    let code = of_cpu.code();
    let mut data = vec![0; PAGE as usize];
    let (mut symbols, mut frames) = (Vec::new(), Frames::new(code));
    let mut put = |name: &str, address: u64, parts: &[&[u8]], rules: &[u8]| {
        let bytes = parts.concat();
        data[(address - CODE) as usize..][..bytes.len()].copy_from_slice(&bytes);
        let (name, size) = (name.to_owned(), bytes.len() as u64);
        frames.function(address, size, rules);
        let (is_function, is_global, is_size_inferred) = (true, true, false);
        symbols.push(Symbol { name, address, size, is_function, is_global, is_size_inferred });
    };
    // DW_CFA_undefined: nobody has called it.
    put(CALLER, START, &[code.call, code.nop], &[0x07, code.ra]);
    put("harness_tls_descriptor", TLS_DESCRIPTOR, &[code.tls_descriptor], &[]);
    put("harness_tls_get_addr", TLS_GET_ADDR, &[code.tls_get_addr], &[]);
    for (number, name) in stubs.iter().enumerate() {
        let (at, word) = stub(number);
        put(&format!("harness_{name}@stub"), at, &[&of_cpu.stub(at, word)], &[]);
    }
    for (index, (name, body)) in CALLBACKS.into_iter().zip(code.callbacks).enumerate() {
        let size = code.enter.len() + body.len() + code.leave.len();
        // DW_CFA_advance_loc1 to the instruction that returns.
        let advance = [0x02, size as u8 - code.entered - code.last];
        let rules = [code.on_entering, &advance, code.on_leaving].concat();
        let name = format!("harness_{}", name.replace('-', "_"));
        put(&name, CODE + SLOT * (index as u64 + 2), &[code.enter, body, code.leave], &rules);
    }
    let frames = frames.finish();
    (Segment { address: CODE, data, executable: true, writable: false }, symbols, frames)
}

/// An `.eh_frame` that is written by hand (Linux Standard Base Core, 10.6): nobody loads it.
struct Frames(Vec<u8>);

impl Frames {
    fn new(code: &Code) -> Self {
        // Version 1, augmentation "zR", factors 1 and -8, the column, and addresses as they are (DW_EH_PE_absptr).
        let head = [&[1, b'z', b'R', 0, 1, 0x78, code.ra, 1, 0x00][..], code.at_entry].concat();
        let mut frames = Self(Vec::new());
        frames.entry(0, &head);
        frames
    }

    fn entry(&mut self, id: u32, body: &[u8]) {
        let length = (4 + body.len()).next_multiple_of(8) + 4;
        self.0.extend((length as u32).to_le_bytes());
        self.0.extend(id.to_le_bytes());
        self.0.extend(body);
        self.0.resize(self.0.len() + length - 4 - body.len(), 0); // DW_CFA_nop
    }

    fn function(&mut self, address: u64, size: u64, rules: &[u8]) {
        let body = [&address.to_le_bytes()[..], &size.to_le_bytes(), &[0], rules].concat();
        let id = self.0.len() as u32 + 4; // back to the only CIE, at 0
        self.entry(id, &body);
    }

    fn finish(mut self) -> LoadedSection {
        self.0.extend([0; 4]);
        LoadedSection { address: 0, data: self.0 }
    }
}

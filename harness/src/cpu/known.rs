//! Instructions that were decoded before, by their bytes. Guests share most of their code, and an instruction's size and kind do not
//! depend on where it stands. Each thread has its own.

use std::cell::RefCell;

use capstone::Capstone;
use rustc_hash::FxHashMap;

use super::{Cpu, Flow, FlowKind};

/// The size of an instruction in bytes, and what it does to the flow of control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The size in bytes.
    pub size: usize,
    /// The kind of transfer.
    pub kind: FlowKind,
    target: Target,
}

/// Where a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The instruction does not encode it.
    None,
    /// So far from the instruction.
    Distance(u64),
    /// It has to be decoded where it stands.
    Other,
}

impl Shape {
    /// The flow of this instruction at an address, if that is known without its bytes.
    const fn at(self, address: u64) -> Option<Flow> {
        let kind = self.kind;
        match self.target {
            Target::None => Some(Flow { kind, target: None }),
            Target::Distance(distance) => Some(Flow { kind, target: Some(address.wrapping_add(distance)) }),
            Target::Other => None,
        }
    }
}

/// How many instructions a thread knows at most, of each CPU: our guests have a few thousand different ones together, a Linux image
/// has more.
const MOST: usize = 1 << 16;

/// Two addresses that have no half in common, at which a target is decoded: if it is as far from both, it is from any.
const PROBES: [u64; 2] = [0x1000_4000, 0xffff_8765_1234_8ab0];

/// The instructions of one CPU.
#[derive(Default)]
struct Known {
    capstone: Option<Capstone>,
    shapes: FxHashMap<(u8, u128), Shape>,
}

// By the CPUs' numbers in ELF files.
thread_local!(static KNOWN: RefCell<FxHashMap<u16, Known>> = RefCell::default());

/// Decodes the instruction that these bytes begin with: its size, and its flow at this address. `None`: they are no instruction.
pub(super) type Decode = fn(&Capstone, u64, &[u8]) -> Option<(usize, Flow)>;

/// The shape of the instruction that these bytes begin with; `None`: they are no instruction.
pub(super) fn shape(cpu: &Cpu, bytes: &[u8]) -> Option<Shape> {
    KNOWN.with_borrow_mut(|known| {
        let known = known.entry(cpu.elf_machine).or_default();
        let mut word = [0; 16];
        let whole = bytes.len().min(word.len());
        word[..whole].copy_from_slice(&bytes[..whole]);
        let word = u128::from_le_bytes(word);
        // An instruction is known by its own bytes alone, whatever follows.
        let key = |size: u8| (size, word & (u128::MAX >> (128 - 8 * u32::from(size))));
        let sizes = cpu.sizes.iter().filter(|size| usize::from(**size) <= bytes.len());
        if let Some(found) = sizes.clone().find_map(|size| known.shapes.get(&key(*size))) {
            return Some(*found);
        }
        let (shape, size) = known.decode(cpu, bytes)?;
        if sizes.into_iter().any(|known| *known == size) {
            if known.shapes.len() == MOST {
                known.shapes.clear();
            }
            known.shapes.insert(key(size), shape);
        }
        Some(shape)
    })
}

/// What the instruction does at this address.
pub(super) fn flow(cpu: &Cpu, address: u64, bytes: &[u8]) -> Flow {
    if let Some(flow) = cpu.flow {
        return flow(address, bytes);
    }
    let Some(shape) = shape(cpu, bytes) else { return Flow::SEQUENTIAL };
    let decoded = || {
        KNOWN.with_borrow_mut(|known| {
            let capstone = known.entry(cpu.elf_machine).or_default().capstone(cpu)?;
            (cpu.decode)(capstone, address, bytes).map(|(_, flow)| flow)
        })
    };
    shape.at(address).or_else(decoded).unwrap_or(Flow::SEQUENTIAL)
}

impl Known {
    fn capstone(&mut self, cpu: &Cpu) -> Option<&Capstone> {
        if self.capstone.is_none() {
            self.capstone = cpu.disassembler().ok();
        }
        self.capstone.as_ref()
    }

    fn decode(&mut self, cpu: &Cpu, bytes: &[u8]) -> Option<(Shape, u8)> {
        let capstone = self.capstone(cpu)?;
        let [low, high] = PROBES.map(|address| (cpu.decode)(capstone, address, bytes));
        let ((size, here), (_, there)) = (low?, high?);
        let distances = [here.target, there.target].into_iter().zip(PROBES);
        let mut distances = distances.map(|(target, address)| target.map(|target| target.wrapping_sub(address)));
        let target = match (distances.next().flatten(), distances.next().flatten()) {
            (None, None) => Target::None,
            (Some(one), Some(other)) if one == other => Target::Distance(one),
            _ => Target::Other,
        };
        Some((Shape { size, kind: here.kind, target }, u8::try_from(size).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{flow, shape};
    use crate::cpu::{ALL, Flow};
    use crate::file;

    /// Code and data alike, at every place where an instruction could begin: each byte sequence is met again and again.
    #[test]
    fn what_is_known_is_what_is_decoded() {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
        for cpu in ALL {
            let capstone = cpu.disassembler().expect("it is built in");
            let step = usize::from(cpu.sizes.iter().copied().min().expect("a size"));
            let mut transfers = 0;
            for name in ["call_chain-O2", "irq_on_task", "fibers"] {
                let code = file::read(&guests.join(cpu.name).join(format!("{name}.elf")), file::MAX_BINARY)
                    .expect("it is checked in");
                for offset in (0..code.len().min(0x3000)).step_by(step) {
                    let bytes = &code[offset..code.len().min(offset + 24)];
                    let known = shape(cpu, bytes);
                    for base in [0x40_0000, 0xffff_ffff_8100_0000] {
                        let address = base + offset as u64;
                        let decoded = (cpu.decode)(&capstone, address, bytes);
                        let found = known.map(|known| (known.size, known.kind));
                        assert_eq!(found, decoded.map(|(size, flow)| (size, flow.kind)), "{}: {bytes:02x?}", cpu.name);
                        let Some((_, decoded)) = decoded else { continue };
                        assert_eq!(flow(cpu, address, bytes), decoded, "{}: {bytes:02x?}", cpu.name);
                        transfers += usize::from(decoded != Flow::SEQUENTIAL);
                    }
                }
            }
            assert!(transfers > 300, "{}: {transfers}", cpu.name);
        }
    }
}

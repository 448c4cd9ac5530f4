//! Thread-local storage of the only thread (Drepper, ELF handling for thread-local storage: variants I and II).

use super::link::{OfCpu, Variant};
use super::module::Module;
use crate::guest::{PAGE, Segment};

/// Where the thread's memory begins.
pub(super) const THREAD: u64 = 0x6100_0000;

/// How much a C library keeps beside the thread pointer, in bytes: more than glibc's `struct pthread` has.
const DESCRIPTOR: u64 = 0x2000;

/// What stack protectors compare. Its lowest byte is 0, as glibc makes it, so that no string can hold it.
pub(super) const CANARY: u64 = 0x5eed_ca4a_71e5_1500;

/// Where the blocks of thread-local variables are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ThreadLayout {
    /// The thread pointer.
    pub(super) pointer: u64,
    /// The offset of each module's block from the thread pointer, in two's complement; none if it has no variables.
    pub(super) offsets: Vec<Option<u64>>,
    /// The address after the last block.
    end: u64,
}

impl ThreadLayout {
    /// Lays out the blocks of these modules.
    pub(super) fn new(modules: &[Module], of_cpu: &dyn OfCpu) -> Self {
        let align = modules.iter().filter_map(|module| module.tls).map(|tls| tls.align).max().unwrap_or(1).max(64);
        let mut offsets = Vec::new();
        match of_cpu.variant() {
            Variant::One { head } => {
                let mut next = head;
                for tls in modules.iter().map(|module| module.tls) {
                    offsets.push(tls.map(|tls| {
                        // A block is aligned as its template is.
                        let at = next + (tls.address.wrapping_sub(next) & (tls.align - 1));
                        next = at + tls.memory_size;
                        at
                    }));
                }
                let pointer = (THREAD + DESCRIPTOR).next_multiple_of(align);
                Self { pointer, offsets, end: pointer + next }
            }
            Variant::Two => {
                let mut below = 0_u64;
                for tls in modules.iter().map(|module| module.tls) {
                    offsets.push(tls.map(|tls| {
                        below += tls.memory_size;
                        below += tls.address.wrapping_add(below).wrapping_neg() & (tls.align - 1);
                        below.wrapping_neg()
                    }));
                }
                let pointer = (THREAD + below).next_multiple_of(align.max(PAGE));
                Self { pointer, offsets, end: pointer + DESCRIPTOR }
            }
        }
    }

    /// The memory of the thread, from relocated modules: blocks, the vector of their addresses, and what the ABI has at fixed offsets
    /// from the thread pointer.
    pub(super) fn segment(&self, modules: &[Module], of_cpu: &dyn OfCpu) -> Segment {
        let vector = self.end.next_multiple_of(64);
        let end = (vector + 16 * (modules.len() as u64 + 3)).next_multiple_of(PAGE);
        let mut data = vec![0; (end - THREAD) as usize];
        let mut put = |address: u64, bytes: &[u8]| {
            data[(address - THREAD) as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        // glibc's dtv: its length, a generation, then a pair of words for each module, by its number from 1.
        put(vector, &(modules.len() as u64 + 1).to_le_bytes());
        let vector = vector + 16;
        for (number, (module, offset)) in (1..).zip(modules.iter().zip(&self.offsets)) {
            let Some((tls, offset)) = module.tls.zip(*offset) else { continue };
            let block = self.pointer.wrapping_add(offset);
            let bytes = module.bytes_at(tls.address);
            put(block, &bytes[..bytes.len().min(tls.file_size as usize)]);
            put(vector + 16 * number, &block.to_le_bytes());
        }
        for (offset, value) in of_cpu.thread_words(self.pointer, vector) {
            put(self.pointer.wrapping_add_signed(offset), &value.to_le_bytes());
        }
        Segment { address: THREAD, data, executable: false, writable: true }
    }
}

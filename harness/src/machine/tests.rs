//! What the CPUs' decoders say about registers, against the emulator.

use rstest::rstest;
use unicorn_engine::{Prot, Unicorn};

use super::core;
use crate::cpu::{ALL, Cpu, MEMORY};

const CODE: u64 = 0x10_0000;
const DATA: u64 = 0x80_0000;
const SIZE: u64 = BATCH * 64;
/// So many instructions run in one engine, each at an address of its own.
const BATCH: u64 = 2_048;

/// Pseudo-random numbers: xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes that are often an instruction. x86-64's are chosen from those of which anything is said.
    fn instruction(&mut self, cpu: &Cpu) -> [u8; 15] {
        let mut bytes = [0; 15];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        if cpu.links().is_empty() {
            let prefixes: [&[u8]; 5] = [&[], &[0x48], &[0x45], &[0x66], &[0xf3]];
            let prefix = prefixes[self.next() as usize % prefixes.len()];
            let map: &[u8] = if self.next().is_multiple_of(2) { &[] } else { &[0x0f] };
            let start = [prefix, map].concat();
            bytes[..start.len()].copy_from_slice(&start);
            if self.next().is_multiple_of(2) && start.len() + 1 < bytes.len() {
                bytes[start.len() + 1] |= 0xc0; // both operands are registers
            }
        }
        bytes
    }
}

/// Random instructions, run alone: what the decoder says of them is true. Registers hold addresses of data, so that loads and stores work.
#[rstest]
fn untouched_registers_keep_their_values(#[values(0, 1, 2)] cpu: usize) {
    let (cpu, name, instructions) = (ALL[cpu], ALL[cpu].name, 60_000);
    let ids = core::of(cpu).register_ids();
    let parameters = core::of(cpu).engine(false);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut retired, mut changed, mut kept, mut stored, mut loaded) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let data: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let mut after = data.clone();
    for _ in 0..instructions / BATCH {
        let mut engine = Unicorn::new(parameters.arch, parameters.mode).expect("an engine");
        if let Some(model) = parameters.model {
            engine.ctl_set_cpu_model(model).expect("a model");
        }
        for start in [CODE, DATA] {
            engine.mem_map(start, SIZE, Prot::ALL).expect("memory");
        }
        for number in 0..BATCH {
            let pc = CODE + 64 * number;
            // Where nothing is said, nothing can be wrong, and some of them make the emulator abort.
            let bytes = std::iter::repeat_with(|| random.instruction(cpu)).find(|bytes| cpu.untouched(bytes) != 0);
            let bytes = bytes.expect("an instruction");
            engine.mem_write(pc, &bytes).expect("code");
            let value = |register: usize| DATA + SIZE / 2 + 0x110 * register as u64;
            for (register, id) in ids.iter().enumerate() {
                engine.reg_write(*id, value(register)).expect("a register");
            }
            // Not every register takes a value.
            let before: Vec<u64> = ids.iter().map(|id| engine.reg_read(*id).expect("a register")).collect();
            engine.mem_write(DATA, &data).expect("data");
            let outcome = engine.emu_start(pc, pc + 63, 0, 1);
            retired += u64::from(outcome.is_ok());
            let untouched = cpu.untouched(&bytes);
            engine.mem_read(DATA, &mut after).expect("data");
            stored += u64::from(after != data);
            assert!(after == data || untouched & MEMORY == 0, "{name}: {bytes:02x?} has stored ({outcome:?})");
            loaded += u64::from(untouched & MEMORY != 0);
            for (register, id) in ids.iter().enumerate() {
                let after = engine.reg_read(*id).expect("a register");
                let is_same = after == before[register];
                changed += u64::from(!is_same);
                kept += untouched >> register & 1;
                assert!(
                    is_same || untouched >> register & 1 == 0,
                    "{name}: register {register} is {after:#x} after {bytes:02x?} ({outcome:?})"
                );
            }
        }
    }
    // The test has looked at something.
    let found = [retired, changed, stored, loaded, kept];
    let least = [instructions / 8, instructions / 16, instructions / 64, instructions / 8, 5 * instructions];
    assert!(found.iter().zip(least).all(|(found, least)| *found > least), "{found:?}");
}

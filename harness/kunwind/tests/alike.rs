//! Unwinders of kernels that say that they walk alike do.

use kunwind::kernel::{CATALOGUE, KernelUnwinder};
use kunwind::{
    CodeAddress, Format, Frame, Regs, ReturnHook, Source, StackBounds, Table, Target, Task, Trampoline, Unwinder as _,
    WalkState,
};

use crate::no_exceptions::no_exceptions;

const LOW: u64 = 0xffff_8000_1000_0000;
const STACKS: [StackBounds; 2] =
    [StackBounds { low: LOW, high: LOW + 0x100 }, StackBounds { low: LOW + 0x200, high: LOW + 0x300 }];
const TEXT: u64 = 0xffff_8000_8000_0000;
const TRAMPOLINE: Trampoline = Trampoline { hook: ReturnHook::Rethook, start: TEXT + 0x40, end: TEXT + 0x60 };

/// Numbers that look random, the same in every run (SplitMix64).
const fn scramble(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Stacks of words that may be frame records and metadata.
struct World(u64);

impl World {
    /// A word that may stand anywhere.
    const fn word(&self, place: u64) -> u64 {
        let random = scramble(self.0 ^ scramble(place));
        match random % 8 {
            0 => LOW + (random >> 8) % 0x308,
            1..=3 => LOW + ((random >> 8) % 0x60) * 8,
            4 => (random >> 8) % 4,
            5 => 0,
            _ => TEXT + ((random >> 8) % 0x20) * 4,
        }
    }
}

impl Target for World {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let is_mapped = STACKS.iter().any(|stack| stack.contains(address, 8)) && address % 0x100 != 0x58;
        is_mapped.then(|| self.word(address))
    }

    fn stacks(&self) -> &[StackBounds] {
        &STACKS
    }

    no_exceptions!(TEXT);

    fn task(&self) -> Option<Task> {
        Some(Task { stack: STACKS[1], ret_stack: None, rethooks: None, fork_entry: None })
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        (TRAMPOLINE.start..TRAMPOLINE.end).contains(&address).then_some(TRAMPOLINE)
    }
}

/// Starts of walks over many stacks.
fn starts(unwinder: &KernelUnwinder) -> impl Iterator<Item = (World, Frame, WalkState)> {
    (0..4000).map(|seed| {
        let world = World(seed);
        let mut regs = Regs::none();
        for (place, register) in [unwinder.abi.fp, unwinder.abi.sp].into_iter().enumerate() {
            regs.set(register, world.word(place as u64));
        }
        let pc = TEXT + (scramble(seed) % 0x20) * 4;
        let pc = if seed % 8 == 0 { CodeAddress::Interrupted(pc) } else { CodeAddress::Return(pc) };
        let state = WalkState::new(world.stacks());
        (world, Frame { pc, regs, source: Source::Start }, state)
    })
}

/// All pairs of unwinders of the catalogue for one CPU.
fn pairs() -> impl Iterator<Item = (&'static KernelUnwinder, &'static KernelUnwinder)> {
    let others = |one: &'static KernelUnwinder| KernelUnwinder::of(one.abi).map(move |other| (one, other));
    CATALOGUE.iter().flat_map(others)
}

#[test]
fn unwinders_that_walk_alike_make_the_same_steps() {
    let (mut like, mut made) = (Vec::new(), 0);
    for (one, other) in pairs().filter(|(one, other)| one.walks_as(other) && one.name != other.name) {
        like.push((one.name, other.name));
        for (world, mut frame, mut state) in starts(one) {
            // Steps that follow start with what the first has used up.
            for _ in 0..4 {
                let (mut theirs, mut used) = (frame, state);
                let steps = (one.step(&mut frame, &mut state, &world), other.step(&mut theirs, &mut used, &world));
                assert_eq!(steps.0, steps.1, "{} and {}", one.name, other.name);
                assert_eq!((frame, state), (theirs, used), "{} and {}", one.name, other.name);
                made += u32::from(steps.0.is_ok());
            }
        }
    }
    let names = ["arm64-sframe", "arm64-sframe:best-effort"];
    assert_eq!(like, [(names[0], names[1]), (names[1], names[0])]);
    assert!(made > 1000, "{made}");
}

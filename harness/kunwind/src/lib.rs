//! Stack unwinders that follow the rules of kernels, as a library without `std`, allocation or `unsafe`.
//!
//! An [`Unwinder`] turns one [`Frame`] into its caller's; [`walk_each`] drives it from a start to an [`End`] and says
//! what the walk [`Claim`]s. All that an unwinder may know of the world is a [`Target`]: reads that may fail, the
//! bounds of the stacks that exist, and [`Table`]s of unwind rows. What differs between CPUs is data, in [`abi`]; which
//! unwinders kernels have is data too, in [`kernel::CATALOGUE`].
//!
//! # A stack, and its walk
//!
//! Three arm64 functions, `start` calls `middle` calls `leaf`; the first two have pushed a frame record, two words {caller's x29,
//! return address}, and x29 points to the younger one. The whole world of the walk is a [`Target`]:
//!
//! ```
//! use kunwind::{
//!     Claim, CodeAddress, End, Format, Frame, FrameRecordUnwinder, Regs, Source, StackBounds, Table, Target, Task, Trampoline,
//!     WalkState, abi, walk,
//! };
//!
//! const LOW: u64 = 0xffff_8000_1000_0000;
//! const WORDS: [u64; 6] = [
//!     0x77,                // LOW + 0x00  SP: a local variable of middle
//!     0x99,                // LOW + 0x08  another one
//!     LOW + 0x20, 0x1014,  // LOW + 0x10  middle's record: start's record, and where start resumes
//!     0,          0,       // LOW + 0x20  start's record: zeros, so nobody called start
//! ];
//!
//! struct Drawn {
//!     stacks: [StackBounds; 1],
//! }
//!
//! impl Target for Drawn {
//!     fn read_u64(&self, address: u64) -> Option<u64> {
//!         let index = usize::try_from(address.checked_sub(LOW)? / 8).ok()?;
//!         WORDS.get(index).copied() // a failed read is an answer
//!     }
//!     fn stacks(&self) -> &[StackBounds] {
//!         &self.stacks
//!     }
//!     fn is_text(&self, address: u64) -> bool {
//!         (0x1000..0x4000).contains(&address)
//!     }
//!     // There are no interrupts, tasks, unwind data or tracers here.
//!     fn entered_from(&self, _: &StackBounds) -> Option<u64> {
//!         None
//!     }
//!     fn is_exception_entry(&self, _: u64) -> bool {
//!         false
//!     }
//!     fn task(&self) -> Option<Task> {
//!         None
//!     }
//!     fn table(&self, _: Format) -> Option<&dyn Table> {
//!         None
//!     }
//!     fn trampoline(&self, _: u64) -> Option<Trampoline> {
//!         None
//!     }
//! }
//!
//! let target = Drawn { stacks: [StackBounds { low: LOW, high: LOW + 8 * WORDS.len() as u64 }] };
//! let trace = |pc: u64| {
//!     let mut regs = Regs::none();
//!     regs.set(abi::ARM64.fp, LOW + 0x10);
//!     let start = Frame { pc: CodeAddress::Interrupted(pc), regs, source: Source::Start };
//!     let mut frames = [start; 8];
//!     let mut state = WalkState::new(target.stacks());
//!     let walk = walk(&FrameRecordUnwinder::new(&abi::ARM64), start, &target, &mut state, &mut frames);
//!     let pcs: Vec<u64> = walk.frames.iter().map(|frame| frame.pc.value()).collect();
//!     (pcs, walk.end, walk.claim)
//! };
//!
//! // Interrupted in middle, at 0x2010: its caller is found, and the walk says that the trace is whole.
//! assert_eq!(trace(0x2010), (vec![0x2010, 0x1014], End::Outermost, Claim::Reliable));
//!
//! // Interrupted in leaf, which pushes no record: x29 is still middle's. The walk says the same of this trace, and middle is
//! // missing from it. To find such places is what the program unwind-harness is for.
//! assert_eq!(trace(0x3000), (vec![0x3000, 0x1014], End::Outermost, Claim::Reliable));
//! ```
//!
//! # What this crate does not know
//!
//! It runs no code, reads no ELF file and holds no truth: whether a walk was right is for its caller to say. A walk
//! that ends with [`End::Outermost`] *claims* that it saw the end of the stack; that is a claim and not a proof.
//!
//! # Modules
//!
//! No two modules import each other, not even by a detour (`tests/imports.rs` checks it). From the bottom up:
//! `address`, `cache`, `regs`, `error`, `stack`, [`abi`]; `row` (rows and their executor), `plain`; `target`, `row_cache`; `return_hook`, `state`;
//! `walk`; and on top of them the formats ([`dwarf`], [`orc`], [`sframe`]) and the unwinders (`unwinder`, [`kernel`]):
//! neither side knows the other.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[macro_use]
mod mutant;

pub mod abi;
pub mod dwarf;
pub mod kernel;
pub mod orc;
pub mod sframe;

mod address;
mod cache;
mod error;
mod plain;
mod regs;
mod repeat;
mod return_hook;
mod row;
mod row_cache;
mod stack;
mod state;
mod target;
mod unwinder;
mod walk;

pub use abi::{Abi, PtRegs};
pub use address::CodeAddress;
pub use cache::PcCache;
pub use error::Error;
pub use orc::OrcTable;
pub use plain::{PlainRow, SavedWord, SavedWords};
pub use regs::{Register, Regs};
pub use repeat::check_steps;
pub use return_hook::{Fix, ReturnHookCursor};
pub use row::{Ask, Caller, CfaRule, Entry, Expression, Found, PauthKey, Place, PtRegsRow, Rule, Slot, UnwindRow};
pub use row_cache::RowCache;
pub use stack::{MAX_STACKS, StackBounds, StackWindows};
pub use state::WalkState;
pub use target::{AskTable, Format, RetStack, ReturnHook, Table, Target, Task, Trampoline};
pub use unwinder::{FrameRecordUnwinder, TableUnwinder, UnwindUser};
pub use walk::{Claim, Claims, End, Frame, Source, Step, Unwinder, Walk, walk, walk_by, walk_each};

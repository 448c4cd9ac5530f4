//! Stack unwinders that follow the rules of kernels, as a library without `std`, allocation or `unsafe`.
//!
//! An [`Unwinder`] turns one [`Frame`] into its caller's; [`walk_each`] drives it from a start to an [`End`] and says
//! what the walk [`Claim`]s. All that an unwinder may know of the world is a [`Target`]: reads that may fail, the
//! bounds of the stacks that exist, and [`Table`]s of unwind rows. What differs between CPUs is data, in [`abi`]; which
//! unwinders kernels have is data too, in [`kernel::CATALOGUE`].
//!
//! # What this crate does not know
//!
//! It runs no code, reads no ELF file and holds no truth: whether a walk was right is for its caller to say. A walk
//! that ends with [`End::Outermost`] *claims* that it saw the end of the stack; that is a claim and not a proof.
//!
//! # Modules
//!
//! No two modules import each other, not even by a detour (`tests/imports.rs` checks it). From the bottom up:
//! `address`, `regs`, `error`, `stack`, [`abi`]; `row` (rows and their executor); `target`; `return_hook`, `state`;
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
mod error;
mod regs;
mod return_hook;
mod row;
mod stack;
mod state;
mod target;
mod unwinder;
mod walk;

pub use abi::{Abi, PtRegs};
pub use address::CodeAddress;
pub use error::Error;
pub use orc::OrcTable;
pub use regs::{Register, Regs};
pub use return_hook::{Fix, ReturnHookCursor};
pub use row::{Ask, Caller, CfaRule, Entry, Expression, Found, PauthKey, Place, PtRegsRow, Rule, Slot, UnwindRow};
pub use stack::{MAX_STACKS, StackBounds, StackWindows};
pub use state::WalkState;
pub use target::{AskTable, Format, RetStack, ReturnHook, Table, Target, Task, Trampoline};
pub use unwinder::{FrameRecordUnwinder, TableUnwinder, UnwindUser};
pub use walk::{Claim, Claims, End, Frame, Source, Step, Unwinder, Walk, walk, walk_each};

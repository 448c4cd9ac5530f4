//! Stack unwinders that follow the rules of kernels, as a library without `std`, allocation or `unsafe`.
//!
//! An [`Unwinder`] turns one [`Frame`] into its caller's; [`walk_each`] drives it from a start to an [`End`] and says what the
//! walk [`Claim`]s. All that an unwinder may know of the world is a [`Target`]: reads that may fail, and the bounds of the
//! stacks that exist. What differs between CPUs is data, in [`abi`].
//!
//! # What this crate does not know
//!
//! It runs no code, reads no ELF file and holds no truth: whether a walk was right is for its caller to say. A walk that
//! ends with [`End::Outermost`] *claims* that it saw the end of the stack; that is a claim and not a proof.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod abi;
pub mod dwarf;
pub mod kernel;
pub mod orc;
pub mod sframe;

mod address;
mod frame_record;
mod regs;
mod rewrite;
mod row;
mod stack;
mod table;
mod user;
mod walk;

pub use abi::{Abi, PtRegs};
pub use address::CodeAddress;
pub use frame_record::FrameRecordUnwinder;
pub use orc::OrcTable;
pub use regs::{Register, Regs};
pub use rewrite::{Inside, RetStack, RewriteCursor, RewriteKind, Trampoline};
pub use row::{CfaRule, Entry, Rule, UnwindRow};
pub use stack::{MAX_STACKS, StackBounds, StackWindows};
pub use table::{Format, Place, Table, TableUnwinder};
pub use user::UnwindUser;
pub use walk::{
    Claim, Claims, End, Error, Frame, Source, Step, Target, Task, Unwinder, Walk, WalkState, walk, walk_each,
};

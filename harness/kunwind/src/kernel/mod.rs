//! The unwinders of kernels, each by the rules of its source, defects included. [`CATALOGUE`] lists them; none of them
//! knows where it is used, or what the others do.

mod arm64;
mod boundary;
mod catalogue;
mod form;
mod kunwind;
mod records;
mod recover;
mod riscv64;
mod trampoline;
mod unwind_frame;
mod unwind_orc;
mod walk_stackframe;

pub use catalogue::{CATALOGUE, KernelUnwinder};
pub use form::Form;

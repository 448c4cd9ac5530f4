//! Activations, the entries of the true trace.

use std::fmt;
use std::rc::Rc;

use crate::cpu::MAX_CALLEE_SAVED;
use crate::guest::conventions::Preserved;
use crate::guest::{Symbol, Symbols, name_in};

/// No CPU has more link registers: riscv64 has two.
pub const MAX_LINKS: usize = 2;

/// The most activations that may wait at once. A guest that makes more calls than this without returning calls without end: a stack
/// of 8 MiB, the usual limit of a process (RLIMIT_STACK), holds a frame record for each five times over, and a kernel's has 16 KiB.
pub const MAX_DEPTH: usize = 100_000;

/// A function that waits for a call to return: one entry of the true trace.
///
/// Each links to the next older activation, which it shares with whoever has seen that one wait.
pub struct Activation {
    /// Where it will resume.
    pub resume: u64,
    /// SP at the call site: the CFA of the function that was called.
    pub cfa: u64,
    /// The callee-saved registers at the call, in the order of [`crate::cpu::Cpu::callee_saved`], padded with zeros.
    pub saved: [u64; MAX_CALLEE_SAVED],
    /// Those of them that the call promises to preserve: all, unless the called function's convention is declared.
    pub preserved: Preserved,
    /// Where the call arrived: the first instruction of the called function, or of the exception's handler.
    pub entry: u64,
    /// The link registers at an exception, in the order of [`crate::cpu::Cpu::links`]: pt_regs holds them. Zero at a call,
    /// which overwrites one itself.
    pub links: [u64; MAX_LINKS],
    /// The stack that `cfa` lies in, as an index into the layout.
    pub stack: Option<usize>,
    /// Whether a call was made here or an exception taken; then `resume` is the interrupted instruction.
    pub cause: Cause,
    /// How many activations the list has that begins with this one.
    pub depth: usize,
    /// Its number, from 1. No other activation of the run ever has it, so that those that are older are known by it too.
    pub serial: u64,
    /// The next older activation.
    pub parent: Option<Rc<Activation>>,
}

/// Without the older ones: the depth of a list is the guest's choice, and a recursion would need as much stack.
impl fmt::Debug for Activation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resume, cfa, cause, depth, .. } = self;
        formatter
            .debug_struct("Activation")
            .field("resume", &format_args!("{resume:#x}"))
            .field("cfa", &format_args!("{cfa:#x}"))
            .field("cause", cause)
            .field("depth", depth)
            .finish_non_exhaustive()
    }
}

/// One after the other: the compiler's own code would drop each parent inside of the drop of its child.
impl Drop for Activation {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut activation) = next.and_then(Rc::into_inner) {
            next = activation.parent.take();
        }
    }
}

impl Activation {
    /// Where it will resume.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { address: self.resume, is_interrupted: self.cause != Cause::Call }
    }

    /// The value that the callee-saved register of this index, among [`crate::cpu::Cpu::callee_saved`], will have when it
    /// resumes; `None` if the call need not preserve it.
    #[must_use]
    pub fn kept(&self, index: usize) -> Option<u64> {
        self.saved.get(index).copied().filter(|_| self.preserved.holds(index))
    }

    /// What makes two activations the same, besides their parents.
    fn key(&self) -> impl Eq + '_ {
        (self.resume, self.cfa, &self.saved, self.preserved, self.entry, &self.links, self.cause)
    }
}

/// Whether two lists are the same: where the call of one is made again, just as it was, the other waits as well.
pub(super) fn are_same(left: Option<&Rc<Activation>>, right: Option<&Rc<Activation>>) -> bool {
    let (mut left, mut right) = (left, right);
    loop {
        match (left, right) {
            (None, None) => return true,
            (Some(one), Some(other)) if Rc::ptr_eq(one, other) => return true,
            (Some(one), Some(other)) if one.depth == other.depth && one.key() == other.key() => {
                (left, right) = (one.parent.as_ref(), other.parent.as_ref());
            }
            _ => return false,
        }
    }
}

/// Where an activation resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The address.
    pub address: u64,
    /// Whether an exception was taken here, not a call made: the instruction may be the first of its function.
    pub is_interrupted: bool,
}

impl Place {
    /// The function that waits. No function may start after a system call that ends its own; then it is the one before.
    #[must_use]
    pub fn function(self, symbols: &Symbols) -> Option<&Symbol> {
        let begins = self.is_interrupted.then(|| symbols.function_at(self.address)).flatten();
        begins.or_else(|| symbols.function_at(self.address.wrapping_sub(1)))
    }

    /// As `symbol+0x10`.
    #[must_use]
    pub fn name(self, symbols: &Symbols) -> String {
        name_in(self.function(symbols), self.address)
    }
}

/// Why an activation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It made a call.
    Call,
    /// An exception interrupted it.
    Exception,
    /// An exception interrupted it in user mode: the kernel's part of the trace ends here.
    UserException,
}

/// The true trace at one point, youngest activation first. The interrupted instruction itself is not part of it.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub(super) youngest: Option<Rc<Activation>>,
    /// Whether the trace ends where the kernel was entered from user mode.
    of_kernel: bool,
}

impl Truth {
    /// A trace that begins with this activation.
    #[must_use]
    pub fn new(youngest: Option<Rc<Activation>>) -> Self {
        Self { youngest, of_kernel: false }
    }

    /// Whether the same activations wait.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        are_same(self.youngest.as_ref(), other.youngest.as_ref())
    }

    /// The trace without its youngest entries.
    #[must_use]
    pub fn without(&self, entries: usize) -> Self {
        let mut youngest = self.youngest.clone();
        for _ in 0..entries {
            youngest = youngest.and_then(|activation| activation.parent.clone());
        }
        Self { youngest, of_kernel: self.of_kernel }
    }

    /// The kernel's part of the trace: all that is younger than the entry from user mode.
    #[must_use]
    pub fn of_kernel(&self) -> Self {
        Self { youngest: self.youngest.clone(), of_kernel: true }
    }

    /// User mode's part of the trace, from where the kernel was entered; `None` if it was not entered from user mode.
    #[must_use]
    pub fn of_user(&self) -> Option<Self> {
        let mut next = self.youngest.as_ref();
        while let Some(activation) = next {
            if activation.cause == Cause::UserException {
                return Some(Self::new(Some(Rc::clone(activation))));
            }
            next = activation.parent.as_ref();
        }
        None
    }

    /// The serial of the youngest activation, 0 if there is none: the same truth has the same one, in one run.
    #[must_use]
    #[inline]
    pub fn serial(&self) -> u64 {
        self.youngest.as_ref().map_or(0, |activation| activation.serial)
    }

    /// How many activations there are, those of user mode included.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.youngest.as_ref().map_or(0, |activation| activation.depth)
    }

    /// Whether it ends where the kernel was entered from user mode.
    #[must_use]
    pub const fn is_of_kernel(&self) -> bool {
        self.of_kernel
    }

    /// The activations, youngest first.
    pub fn activations(&self) -> Activations<'_> {
        Activations { next: self.youngest.as_deref(), of_kernel: self.of_kernel }
    }
}

/// The activations of a [`Truth`], youngest first.
#[derive(Debug, Clone)]
pub struct Activations<'t> {
    next: Option<&'t Activation>,
    of_kernel: bool,
}

impl Activations<'_> {
    /// The serial of the next one; 0 if there is none.
    #[must_use]
    #[inline]
    pub fn due(&self) -> u64 {
        self.clone().next().map_or(0, |activation| activation.serial)
    }
}

impl<'t> Iterator for Activations<'t> {
    type Item = &'t Activation;

    #[inline]
    fn next(&mut self) -> Option<&'t Activation> {
        let activation = self.next?;
        if self.of_kernel && activation.cause == Cause::UserException {
            return None;
        }
        self.next = activation.parent.as_deref();
        Some(activation)
    }
}

//! Calling conventions that are not the ABI's. A program's compiler, runtime or assembly may agree on others for some of its
//! functions, and a scenario declares them; what is not declared is the ABI's.

use std::ops::Range;

use crate::cpu::{MAX_CALLEE_SAVED, Register};

/// How some functions are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallConvention {
    /// The register in which a call leaves the return address; `None`: where the ISA's calls leave it.
    pub link: Option<Register>,
    /// With which SP such a function returns.
    pub returns: SpAtReturn,
    /// What it preserves.
    pub preserves: Preserved,
    /// Whether nobody has declared it: it is what a run was seen to do.
    pub is_supposed: bool,
}

impl CallConvention {
    /// The registers whose values at the call are those at the return, so that an unwinder can be asked for them. Outlined code
    /// works on its caller's frame: a prologue may set its frame pointer (of this index), an epilogue restores its registers.
    #[must_use]
    pub fn kept(&self, fp: Option<usize>) -> Preserved {
        match self.returns {
            SpAtReturn::Same | SpAtReturn::Higher(_) => self.preserves,
            SpAtReturn::Lowered => fp.map_or(self.preserves, |fp| self.preserves.without(fp)),
            SpAtReturn::Raised => Preserved::NONE,
        }
    }
}

/// SP when a function returns, compared with SP at the call site (the CFA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpAtReturn {
    /// The CFA.
    #[default]
    Same,
    /// So many bytes above it: the function has popped its arguments.
    Higher(u64),
    /// Anywhere below it: an outlined prologue has made its caller's frame.
    Lowered,
    /// Anywhere above it: an outlined epilogue has taken its caller's frame down.
    Raised,
}

impl SpAtReturn {
    /// Whether a call with this CFA may return with this SP.
    #[must_use]
    pub const fn allows(self, cfa: u64, sp: u64) -> bool {
        match self {
            Self::Same => sp == cfa,
            Self::Higher(bytes) => sp == cfa.wrapping_add(bytes),
            Self::Lowered => sp <= cfa,
            Self::Raised => sp >= cfa,
        }
    }
}

/// A set of callee-saved registers, by their indices in [`crate::cpu::Cpu::callee_saved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Preserved(u16);

impl Preserved {
    /// All: what an ABI demands.
    pub const ALL: Self = Self(u16::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// The set of these.
    #[must_use]
    pub fn of(indices: impl IntoIterator<Item = usize>) -> Self {
        let known = indices.into_iter().filter(|index| *index < MAX_CALLEE_SAVED);
        Self(known.fold(0, |set, index| set | 1 << index))
    }

    /// The set without one of them.
    #[must_use]
    pub const fn without(self, index: usize) -> Self {
        Self(if index < MAX_CALLEE_SAVED { self.0 & !(1 << index) } else { self.0 })
    }

    /// Those that both sets hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds the register of this index.
    #[must_use]
    pub const fn holds(self, index: usize) -> bool {
        index < MAX_CALLEE_SAVED && self.0 & 1 << index != 0
    }
}

impl Default for Preserved {
    fn default() -> Self {
        Self::ALL
    }
}

/// The declared conventions of a guest's functions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallConventions {
    all: Vec<CallConvention>,
    /// The functions, by address, each with the index of its convention.
    functions: Vec<(Range<u64>, usize)>,
}

impl CallConventions {
    /// Adds a convention of these functions.
    ///
    /// # Errors
    ///
    /// The address of a function that has one already.
    pub fn add(&mut self, convention: CallConvention, functions: Vec<Range<u64>>) -> Result<(), u64> {
        let index = self.all.len();
        self.all.push(convention);
        self.functions.extend(functions.into_iter().map(|function| (function, index)));
        self.functions.sort_by_key(|(function, _)| function.start);
        match self.functions.windows(2).find(|pair| pair[0].0.start == pair[1].0.start && pair[0].1 != pair[1].1) {
            Some(twice) => Err(twice[0].0.start),
            None => Ok(()),
        }
    }

    /// Whether none is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The convention of the function at this address, if one is declared; and its index.
    #[must_use]
    pub fn of(&self, address: u64) -> Option<(usize, &CallConvention)> {
        let after = self.functions.partition_point(|(function, _)| function.start <= address);
        let (function, index) = self.functions[..after].last()?;
        function.contains(&address).then(|| (*index, &self.all[*index]))
    }
}

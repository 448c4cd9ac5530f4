//! Anything whose walks can be judged, with the descriptor from which columns and verdict rules derive.

use kunwind::{FrameRecordUnwinder, Register, StackBounds, Target, Unwinder};

use crate::arch::Arch;
use crate::machine::Memory;
use crate::verdict::Compares;

/// An unwinder under test, and what it needs and promises.
pub struct Subject {
    /// The name in scenarios, reports and on the command line.
    pub name: String,
    /// What its walks are judged by, beyond pcs.
    pub compares: Compares,
    /// The registers that a walk starts with, the pc apart.
    pub registers: Vec<Register>,
    /// The unwinder itself.
    pub unwinder: Box<dyn Unwinder + Send + Sync>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Subject {
    /// The bare walk along frame records.
    #[must_use]
    pub fn frame_record(arch: &dyn Arch) -> Self {
        let abi = arch.abi();
        let unwinder = FrameRecordUnwinder::new(abi);
        Self {
            name: unwinder.name().to_owned(),
            compares: Compares { cfa: true, fp: true, callee_saved: false },
            registers: vec![abi.fp],
            unwinder: Box::new(unwinder),
        }
    }
}

/// Every subject of a CPU, in the order of columns.
#[must_use]
pub fn all(arch: &dyn Arch) -> Vec<Subject> {
    vec![Subject::frame_record(arch)]
}

/// The guest as it stands at a point.
#[derive(Debug)]
pub struct Live<'a> {
    /// Its memory.
    pub memory: &'a Memory,
    /// Its stacks.
    pub stacks: &'a [StackBounds],
}

impl Target for Live<'_> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.memory.read_u64(address)
    }

    fn stacks(&self) -> &[StackBounds] {
        self.stacks
    }
}

//! Room for gimli to run programs in, of fixed size.

/// How many register rules a row may have: enough for the general and the vector registers of a machine, and some more.
const MAX_RULES: usize = 96;
/// How many states may be remembered, the initial one included.
const MAX_STATES: usize = 8;

/// Fixed arrays for gimli's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fixed;

impl gimli::UnwindContextStorage<usize> for Fixed {
    type Rules = [(gimli::Register, gimli::RegisterRule<usize>); MAX_RULES];
    type Stack = [gimli::UnwindTableRow<usize, Self>; MAX_STATES];
}

/// Room for running a CFI program, some 30 KiB. It keeps nothing between uses.
#[derive(Debug, Default)]
pub struct Storage(pub(super) gimli::UnwindContext<usize, Fixed>);

impl Storage {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

//! How a walk goes, apart from what it claims: walks of several subjects from one start may go the same way.

use kunwind::kernel::KernelUnwinder;

/// How a subject walks, of which there is another that walks so.
#[derive(Debug, Clone, Copy)]
pub struct Way(&'static KernelUnwinder);

impl Way {
    /// The way of this unwinder, if another of its CPU goes it, too.
    pub(super) fn of(unwinder: &'static KernelUnwinder) -> Option<Self> {
        let mut others = KernelUnwinder::of(unwinder.abi).filter(|other| !std::ptr::eq(*other, unwinder));
        others.any(|other| unwinder.walks_as(other)).then_some(Self(unwinder))
    }

    /// Whether walks of both from one start have the same entries and the same end.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.0.walks_as(other.0)
    }
}

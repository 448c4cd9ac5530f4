//! Designs against the windows of `return_to_handler`: what a build of a guest and an unwinder make together. The builds are
//! described in guests/KERNEL.md, the designs in docs/atlas.md.

use kunwind::Fix;

/// The design of a guest that does as Linux does.
pub const PLAIN: &str = "F0";

/// Who rewrites return addresses in a guest, and what its build does about the windows that this leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewriter {
    /// `fgraph`, `rethook`, ...; a special case is told behind a comma.
    pub name: String,
    /// The design of the build.
    pub design: String,
}

impl Rewriter {
    /// Whether it is the function graph tracer.
    #[must_use]
    pub fn is_tracer(&self) -> bool {
        self.name.split(',').next() == Some("fgraph")
    }
}

/// The name of the design that a guest's build and an unwinder make together; nothing if they do not belong together. An unwinder
/// without a design of its own is shown with every build.
#[must_use]
pub fn together(guest: &str, fix: Fix) -> Option<&str> {
    match (fix, guest) {
        (Fix::None, _) => Some(guest),
        (Fix::Refuse, PLAIN) => Some("range"),
        (Fix::RetStack, PLAIN) => Some("F1"),
        (Fix::RetStack, "F2" | "F3") | (Fix::Record, "F4") | (Fix::Pending, "F5") => Some(guest),
        _ => None,
    }
}

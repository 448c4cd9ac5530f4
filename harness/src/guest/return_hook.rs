//! Return hooks replace return addresses by a trampoline's; fixes close the transient windows that this leaves. A fix takes
//! both a build of the guest and an unwinder. guests/KERNEL.md describes the builds, docs/atlas.md the fixes.

pub use kunwind::Fix;

/// The build of a guest that behaves as Linux does.
pub const PLAIN: &str = "F0";

/// The return hooks, and the code that runs between a function and its caller, that guests have (guests/KERNEL.md).
pub const HOOKS: [&str; 6] = ["bpf", "fgraph", "ftrace", "kretprobe", "livepatch", "rethook"];

/// The builds of a guest with a return hook (docs/atlas.md). F1 and range are fixes of unwinders alone; their build is F0.
pub const BUILDS: [&str; 8] = [PLAIN, "F2", "F3", "F4", "F5", "record", "records", "undefined"];

/// The fixes that unwinders have without the guest.
pub const UNWINDERS_ALONE: [&str; 2] = ["F1", "range"];

/// The return hook in a guest, and the fix that the guest was built with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct ReturnHook {
    /// `fgraph`, `rethook`, ...; a special case follows after a comma.
    pub name: String,
    /// The build: `F0` is Linux.
    pub build: String,
}

impl ReturnHook {
    /// Whether it is the function graph tracer.
    #[must_use]
    pub fn is_tracer(&self) -> bool {
        self.name.split(',').next() == Some("fgraph")
    }
}

/// The name of the fix that a guest's build and an unwinder implement together; `None` if they do not belong together. An
/// unwinder without a fix of its own goes with every build.
#[must_use]
pub fn together(build: &str, fix: Fix) -> Option<&str> {
    match (fix, build) {
        (Fix::None, _) => Some(build),
        (Fix::Refuse, PLAIN) => Some("range"),
        (Fix::RetStack, PLAIN) => Some("F1"),
        (Fix::RetStack, "F2" | "F3") | (Fix::Record, "F4") | (Fix::Pending, "F5") => Some(build),
        _ => None,
    }
}

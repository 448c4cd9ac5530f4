//! The functions and words of a kernel guest that deliveries look for.

use crate::Error;
use crate::prepared::Prepared;

/// The function whose instructions, and whose callees', are interrupted.
const SUBJECT_FUNCTION: &str = "guest_main";

/// The symbols of a guest that can be interrupted.
pub(super) struct Markers {
    pub(super) guest_main: u64,
    pub(super) walk_here: u64,
    pub(super) walk_task: u64,
    pub(super) current: u64,
    pub(super) need_resched: u64,
}

impl Markers {
    pub(super) fn new(prepared: &Prepared) -> Result<Self, Error> {
        let require = |symbol| prepared.guest.require(symbol, "guests/KERNEL.md lists what a kernel guest defines");
        Ok(Self {
            guest_main: require(SUBJECT_FUNCTION)?,
            walk_here: require("walk_here")?,
            walk_task: require("walk_task")?,
            current: require("__current")?,
            need_resched: require("need_resched")?,
        })
    }
}

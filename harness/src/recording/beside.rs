//! The answers of several formats side by side, and what each of them costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Instructions that ran, by what SFrame, CFI and frame pointers say of the way from them to the caller. One that is in several of these
/// sets counts in each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SideBySide {
    /// All that ran.
    pub instructions: usize,
    /// All three are right at each arrival.
    pub all_right: usize,
    /// SFrame has no row that can be read.
    pub sframe_missing: usize,
    /// Its row is wrong in some part.
    pub sframe_wrong: usize,
    /// CFI has no row that can be read.
    pub dwarf_missing: usize,
    /// Its row is wrong in some part.
    pub dwarf_wrong: usize,
    /// Both have a row, and the rows differ in the rules that both formats have.
    pub differ: usize,
    /// The frame record to which the frame pointer points does not lead to the caller.
    pub fp_wrong: usize,
    /// Nothing is known of the caller, so that none of the three is judged.
    pub not_judged: usize,
}

impl SideBySide {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            instructions: self.instructions + other.instructions,
            all_right: self.all_right + other.all_right,
            sframe_missing: self.sframe_missing + other.sframe_missing,
            sframe_wrong: self.sframe_wrong + other.sframe_wrong,
            dwarf_missing: self.dwarf_missing + other.dwarf_missing,
            dwarf_wrong: self.dwarf_wrong + other.dwarf_wrong,
            differ: self.differ + other.differ,
            fp_wrong: self.fp_wrong + other.fp_wrong,
            not_judged: self.not_judged + other.not_judged,
        }
    }
}

/// What the formats cost, in bytes, over all files of a guest. A case that was frozen does not have `.eh_frame_hdr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableBytes {
    /// The sections `.eh_frame`.
    pub eh_frame: usize,
    /// The sections `.eh_frame_hdr`, which a linker makes.
    pub eh_frame_hdr: usize,
    /// The sections `.sframe` in the files.
    pub sframe: usize,
    /// What `sframe encode` makes of all CFI.
    pub sframe_made: usize,
}

//! Sections that are written here from CFI, against those that GNU as and ld 2.47 made of the same functions.

mod broken;
mod cfi;
mod direct;
mod elf;
mod entries;
mod full;
mod linked;
mod merge;
mod object;
mod programs;
mod refusal;
mod round_trip;
mod split;

use elf::Elf;
use kunwind::sframe::write::{FromCfi, Placement, from_cfi};

fn convert(elf: &Elf<'_>, placement: Placement) -> FromCfi {
    let owned = elf.cfi();
    from_cfi(&owned.cfi(), owned.abi, placement).expect("few functions")
}

//! Where data is in a kernel whose own table names functions alone (CONFIG_KALLSYMS_ALL is off): its code says it. Each place is read
//! from the instructions of one function that has to use it, and checked; where they are others than expected, the place stays
//! unknown, with the reason.

mod arm64;

use super::KernelImage;

/// A place that code tells: its name, and how it is read.
pub(super) type Place = (&'static str, fn(&KernelImage) -> Result<u64, String>);

/// What code tells: a name, and its place or why it is not known.
pub(super) type Told = (&'static str, Result<u64, String>);

/// The places of this image, or why they are not known; empty for CPUs whose code is not read.
pub(super) fn places(image: &KernelImage) -> Vec<Told> {
    let places: &[Place] = match image.cpu.name {
        "arm64" => &arm64::PLACES,
        _ => &[],
    };
    places.iter().map(|(name, read)| (*name, read(image))).collect()
}

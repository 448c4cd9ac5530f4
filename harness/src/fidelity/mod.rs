//! How faithful the guests' mimics of a kernel are: the events of a mimic that an unwinder could notice, beside those of the
//! kernel's own function, from the code of both, in the order in which it stands there.
//!
//! The image is as it is linked: where a kernel patches itself at boot (alternatives), it shows the code for a CPU without any
//! feature, mostly `nop`.

mod align;
mod body;
mod code;
mod page;
mod pairs;
mod report;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Error;
use crate::guest::Guest;
use crate::linux::KernelImage;

pub use align::Row;
pub use body::{Body, Event, Link};
pub use code::{Code, Found, Limits};
pub use page::{Compared, Pages, page_of};
pub use pairs::Thunks;
pub use report::{side_by_side, table, title};

use align::align;
use pairs::Pairs;

/// A mimic and what it mimics.
#[derive(Debug)]
pub struct Comparison {
    /// The function in the guest.
    pub mimic: String,
    /// The guest.
    pub guest: String,
    /// The function in the image.
    pub image: String,
    /// Both, side by side; else why they cannot be compared.
    pub rows: Result<Vec<Row>, String>,
    /// How many events the mimic has.
    pub events: usize,
    /// How many events the image's function has.
    pub image_events: usize,
    /// How many instructions of the image's function do nothing, padding after its end apart.
    pub nops: usize,
    /// Why the two differ in the image that the pages were made of.
    pub differs: Option<String>,
}

impl Comparison {
    /// Whether either function has this name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.mimic == name || self.image == name
    }

    /// How many events are in both, in the mimic alone, and in the image alone.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let rows = self.rows.as_deref().unwrap_or_default();
        let both = rows.iter().filter(|row| row.is_equal()).count();
        let mimic = rows.iter().filter(|row| row.image.is_none()).count();
        [both, mimic, rows.len() - both - mimic]
    }

    /// How many events are in one alone.
    #[must_use]
    pub fn differences(&self) -> usize {
        let [_, mimic, image] = self.counts();
        mimic + image
    }
}

/// Compares every mimic of the image's CPU.
///
/// # Errors
///
/// When a guest cannot be read or lacks a function. What the image lacks is no error.
pub fn compare(root: &Path, image: &KernelImage) -> Result<Vec<Comparison>, Error> {
    let pairs = Pairs::load();
    let mut guests: BTreeMap<&str, Guest> = BTreeMap::new();
    let names = pairs.names(image.cpu);
    let mut all = Vec::new();
    for pair in pairs.of(image.cpu) {
        if !guests.contains_key(pair.guest.as_str()) {
            let path = root.join("guests").join(image.cpu.name).join(format!("{}.elf", pair.guest));
            guests.insert(&pair.guest, Guest::load(&path, image.cpu)?);
        }
        let guest = &guests[pair.guest.as_str()];
        let mimic = Code::of_guest(guest, &pair.mimic)?;
        let mut mimic = Body::of(image.cpu, &[mimic], &pair.watched, &pairs.thunks)?;
        let Found { name, parts } = Code::of_image(image, &pair.image, pair.limits(), &names)?;
        let mut comparison = Comparison {
            mimic: pair.mimic.clone(),
            guest: pair.guest.clone(),
            image: name,
            events: mimic.events.len(),
            image_events: 0,
            nops: 0,
            differs: pair.differs.clone(),
            rows: Err("not in this image".to_owned()),
        };
        if !parts.is_empty() {
            let mut real = Body::of(image.cpu, &parts, &pair.watched, &pairs.thunks)?;
            name_links(&mut mimic, &mut real);
            comparison.image_events = real.events.len();
            comparison.nops = real.nops;
            comparison.rows = Ok(align(mimic.events, real.events));
        }
        all.push(comparison);
    }
    Ok(all)
}

/// A call or a jump to another function is compared by that function's name where both have one of this name.
fn name_links(mimic: &mut Body, image: &mut Body) {
    let names = |body: &Body| -> BTreeSet<(Link, String)> {
        body.events.iter().filter_map(|event| event.link.clone()).collect()
    };
    let both: BTreeSet<_> = names(mimic).intersection(&names(image)).cloned().collect();
    for event in mimic.events.iter_mut().chain(&mut image.events) {
        if event.link.as_ref().is_some_and(|link| both.contains(link)) {
            event.key.clone_from(&event.text);
        }
    }
}

//! Every point of a run, every subject at each: truth, walk, verdict, record.

mod delivery;
mod probe;
mod record;
mod trial;

use std::path::Path;

use kunwind::{CodeAddress, Frame, Regs, Source, StackBounds};

use crate::Error;
use crate::guest::Guest;
use crate::layout::{Layout, Poison};
use crate::listing::Listing;
use crate::machine::Machine;
use crate::oracle::{Oracle, Testimony, Witnesses};
use crate::report::Section;
use crate::scenario::{Kind, Scenario, Variant};
use crate::subject::Subject;

use delivery::Delivery;
pub use probe::Sweep;
pub use record::Run;
pub use trial::Trial;

/// How many entries a trace may have. Deeper than any guest's stack, so that a full buffer means a walk gone wild.
pub const MAX_FRAMES: usize = 512;

/// A guest that is ready to run, with everything that is made of it once.
#[derive(Debug)]
pub struct Prepared {
    /// The guest.
    pub guest: Guest,
    /// Its disassembly.
    pub listing: Listing,
    /// Where its stacks lie.
    pub layout: Layout,
    /// What they are filled with.
    pub poison: Poison,
    /// Their bounds alone, for walks.
    pub bounds: Vec<StackBounds>,
}

impl Prepared {
    /// Loads the guest of a scenario's variant.
    ///
    /// # Errors
    ///
    /// As [`Guest::load`], [`Listing::new`] and [`Layout::new`].
    pub fn load(root: &Path, scenario: &Scenario, variant: &Variant) -> Result<Self, Error> {
        let guest = Guest::load(&scenario.guest_path(root, variant), scenario.arch)?;
        Self::new(guest, &variant.stacks, variant.cfa_mod32)
    }

    /// Prepares a loaded guest.
    ///
    /// # Errors
    ///
    /// As [`Listing::new`] and [`Layout::new`].
    pub fn new(guest: Guest, stacks: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        let listing = Listing::new(&guest)?;
        let layout = Layout::new(&guest, stacks, cfa_mod32)?;
        let poison = Poison::new(&listing, &layout.stacks);
        let bounds = layout.stacks.iter().map(|stack| stack.bounds).collect();
        Ok(Self { guest, listing, layout, poison, bounds })
    }

    /// An oracle for one run of the guest.
    #[must_use]
    pub fn oracle(&self, witnesses: Witnesses) -> Oracle<'_> {
        Oracle::new(&self.guest, &self.layout, &self.poison, witnesses)
    }

    /// A machine for one run of the guest.
    ///
    /// # Errors
    ///
    /// As [`Machine::new`].
    pub fn machine(&self, entry: &str) -> Result<Machine<'_>, Error> {
        Machine::new(&self.guest, entry, &self.layout, &self.poison)
    }
}

/// Which points of a run are judged.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// The functions; empty: all.
    pub within: &'a [String],
    /// How many arrivals at one instruction.
    pub max_visits: u64,
    /// Functions that a trace may leave out.
    pub omissible: &'a [String],
}

/// A frame that means nothing, to fill buffers with.
const NOWHERE: Frame = Frame { pc: CodeAddress::Interrupted(0), regs: Regs::none(), source: Source::Start };

/// Fills in what the witnesses of the truth have to say of the run.
fn with_testimony(mut section: Section, testimony: Testimony, scenario: &Scenario, guest: &Guest) -> Section {
    let name_of = |(place, count): &(u64, usize)| (guest.symbols.name_of_return(*place), *count);
    section.unwitnessed = testimony.unwitnessed.iter().map(name_of).collect();
    section.void_is_meant = testimony.contradiction.as_ref().is_some_and(|reason| scenario.means_void(reason));
    section.void = testimony.contradiction;
    section
}

/// Runs one variant of a scenario, interrupted in one way, and judges the subjects at every point.
///
/// # Errors
///
/// Whatever keeps the guest from being loaded or from running to its end. A void run is not an error but a section that says
/// so.
pub fn run(
    root: &Path,
    scenario: &Scenario,
    variant: &Variant,
    kind: Kind,
    subjects: &[Subject],
) -> Result<Section, Error> {
    run_with(root, scenario, variant, kind, subjects, Witnesses::default())
}

/// Like [`run`], with other witnesses: to show that wrong ones void the run.
///
/// # Errors
///
/// As [`run`].
pub fn run_with(
    root: &Path,
    scenario: &Scenario,
    variant: &Variant,
    kind: Kind,
    subjects: &[Subject],
    witnesses: Witnesses,
) -> Result<Section, Error> {
    let prepared = Prepared::load(root, scenario, variant)?;
    for name in scenario.text.within.iter().chain(&scenario.text.omissible).chain(&scenario.text.never_resumes) {
        prepared.guest.function(name)?;
    }
    let text = &scenario.text;
    let points = Points { within: &text.within, max_visits: text.max_visits, omissible: &text.omissible };
    let has_tasks = prepared.guest.symbols.address("__current").is_some();
    let subjects: Vec<&Subject> = subjects.iter().filter(|subject| has_tasks || !subject.kernel).collect();
    let mut machine = prepared.machine(&text.entry)?;
    if kind == Kind::Probe {
        let mut sweep = Sweep::new(&prepared, &subjects, points, witnesses);
        machine.run(&mut sweep, text.budget)?;
        return Ok(sweep.finish(scenario, variant, kind));
    }
    let mut delivery = Delivery::new(&prepared, &subjects, kind, points, witnesses)?;
    machine.run(&mut delivery, text.budget)?;
    Ok(delivery.finish(scenario, variant))
}

//! Which arrivals at an instruction are points, and their numbers.
//!
//! The first arrivals at each instruction are points. So is a later one if its [`State`] is none that a point had: a row that is
//! wrong from the seventh turn of a loop on is wrong in another state. All others are counted.

use super::sample::Tally;
use crate::guest::{CodeMap, Guest};
use crate::oracle::{ReturnPlace, State};
use crate::progress::Progress;

/// Which points of a run are judged.
#[derive(Debug, Clone, Copy)]
pub struct PointFilter<'a> {
    /// The functions; empty: all.
    pub within: &'a [String],
    /// The functions in which the first exception of a nested run is taken; empty: all.
    pub outer: &'a [String],
    /// How many arrivals at each instruction are points in any case.
    pub max_visits: u64,
    /// Arrivals that are points too: the addresses of their instructions, and their numbers from 1.
    pub wanted: &'a [(u64, u64)],
    /// The first and the last address of instructions that can be points.
    pub addresses: (u64, u64),
    /// Where points are counted while the run goes on.
    pub progress: Option<&'a Progress>,
}

impl PointFilter<'_> {
    /// A point is judged.
    fn count(&self) {
        if let Some(progress) = self.progress {
            progress.point();
        }
    }
}

/// An instruction that ran and can be a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Its address.
    pub pc: u64,
    /// How often the guest arrived here.
    pub arrivals: u64,
    /// How many points there were: arrivals or, of damaged stacks, copies.
    pub visits: u64,
    /// The arrivals that were not judged.
    pub left_out: LeftOut,
}

/// Arrivals that were not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct LeftOut {
    /// All of them.
    pub arrivals: u64,
    /// Those in a state that no point had: there were too many states.
    pub other_states: u64,
}

impl LeftOut {
    /// Adds other arrivals to these.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { arrivals: self.arrivals + other.arrivals, other_states: self.other_states + other.other_states }
    }
}

/// Whether an instruction is among the sites, and at which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unseen,
    Outside,
    At(usize),
}

/// A point: one arrival at an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The index of its instruction among the sites.
    pub site: usize,
    /// The instruction's address.
    pub pc: u64,
    /// The number of the arrival, from 1; of damaged stacks, that of the copy.
    pub visit: u64,
    /// Whether the interruption can really arrive there.
    pub reachable: bool,
}

/// The instructions of a run that can be points, in the order of their first arrival.
#[derive(Debug)]
pub(super) struct Sites<'p> {
    guest: &'p Guest,
    filter: PointFilter<'p>,
    /// Whether damaged copies are numbered, and not arrivals.
    numbers_copies: bool,
    places: CodeMap<Place>,
    /// The address, the arrivals, and the number of points of each instruction.
    sites: Vec<(u64, Tally, u64)>,
}

impl<'p> Sites<'p> {
    /// No sites yet.
    pub(super) fn new(guest: &'p Guest, filter: PointFilter<'p>, numbers_copies: bool) -> Self {
        Self { guest, filter, numbers_copies, places: CodeMap::new(guest, Place::Unseen), sites: Vec::new() }
    }

    /// The sites, when the run is over.
    pub(super) fn finish(self) -> Vec<Site> {
        let site = |(pc, tally, visits): (u64, Tally, u64)| {
            let (arrivals, left_out) = (tally.arrivals(), tally.left_out());
            Site { pc, arrivals, visits, left_out }
        };
        self.sites.into_iter().map(site).collect()
    }

    /// The index of the site at this address, if there is one.
    #[inline]
    fn site(&mut self, pc: u64) -> Option<usize> {
        match *self.places.get_mut(pc)? {
            Place::At(site) => Some(site),
            Place::Outside => None,
            Place::Unseen => self.first_arrival(pc),
        }
    }

    /// The index of a new site at this address, if it is to be one.
    #[cold]
    fn first_arrival(&mut self, pc: u64) -> Option<usize> {
        let within = self.filter.within;
        let function = self.guest.symbols.function_at(pc);
        let (first, last) = self.filter.addresses;
        let is_within =
            (first..=last).contains(&pc) && function.is_some_and(|it| within.is_empty() || within.contains(&it.name));
        let site = self.sites.len();
        *self.places.get_mut(pc)? = if is_within { Place::At(site) } else { Place::Outside };
        is_within.then(|| {
            self.sites.push((pc, Tally::default(), 0));
            site
        })
    }

    /// Counts an arrival and returns the point, if it is one; as reachable. `state` is asked for the arrival's state only where
    /// that decides: where the return address was when control was last here, it need not be searched.
    #[inline]
    pub(super) fn arrive(&mut self, pc: u64, state: impl FnOnce(Option<ReturnPlace>) -> State) -> Option<Arrival> {
        let site = self.site(pc)?;
        let (_, tally, visits) = &mut self.sites[site];
        let next = tally.arrivals() + 1;
        let wanted = self.filter.wanted;
        let wanted = (!wanted.is_empty() && !self.numbers_copies && wanted.contains(&(pc, next))).then_some(next);
        if !tally.takes(self.filter.max_visits, wanted, state) {
            return None;
        }
        *visits += 1;
        self.filter.count();
        let visit = if self.numbers_copies { *visits } else { tally.arrivals() };
        Some(Arrival { site, pc, visit, reachable: true })
    }

    /// From now on, arrivals at the instruction of this point are points only in a new state.
    pub(super) fn close(&mut self, at: Arrival) {
        self.sites[at.site].1.close();
    }

    /// Counts an arrival that cannot be judged, because the truth is not known.
    pub(super) fn pass(&mut self, pc: u64) {
        if let Some(site) = self.site(pc) {
            self.sites[site].1.pass();
        }
    }

    /// Counts another visit at a point that has several for one arrival (corrupt stacks).
    pub(super) fn arrive_again(&mut self, at: Arrival) -> Arrival {
        let (_, _, visits) = &mut self.sites[at.site];
        *visits += 1;
        self.filter.count();
        Arrival { visit: *visits, ..at }
    }

    /// Uncounts the latest arrival at an instruction, which was not a point after all.
    pub(super) fn cancel(&mut self, at: Arrival) {
        let (_, tally, visits) = &mut self.sites[at.site];
        *visits -= 1;
        tally.cancel();
        if let Some(progress) = self.filter.progress {
            progress.no_point();
        }
    }
}

//! Which arrivals at an instruction are points, and their numbers.

use crate::guest::{CodeMap, Guest};

/// Which points of a run are judged.
#[derive(Debug, Clone, Copy)]
pub struct PointFilter<'a> {
    /// The functions; empty: all.
    pub within: &'a [String],
    /// The functions in which the first exception of a nested run is taken; empty: all.
    pub outer: &'a [String],
    /// How many arrivals at each instruction.
    pub max_visits: u64,
}

/// An instruction that ran and can be a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Its address.
    pub pc: u64,
    /// How often the guest arrived here.
    pub arrivals: u64,
    /// How many of the arrivals were points; also the number of the latest one.
    pub visits: u64,
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
    /// The number of the arrival, from 1.
    pub visit: u64,
    /// Whether the interruption can really arrive there.
    pub reachable: bool,
}

/// The instructions of a run that can be points, in the order of their first arrival.
#[derive(Debug)]
pub(super) struct Sites<'p> {
    guest: &'p Guest,
    filter: PointFilter<'p>,
    places: CodeMap<Place>,
    sites: Vec<Site>,
}

impl<'p> Sites<'p> {
    /// No sites yet.
    pub(super) fn new(guest: &'p Guest, filter: PointFilter<'p>) -> Self {
        Self { guest, filter, places: CodeMap::new(guest, Place::Unseen), sites: Vec::new() }
    }

    /// The sites, when the run is over.
    pub(super) fn finish(self) -> Vec<Site> {
        self.sites
    }

    /// Counts an arrival and returns the point, if it is one; as reachable.
    pub(super) fn arrive(&mut self, pc: u64) -> Option<Arrival> {
        let place = self.places.get_mut(pc)?;
        if *place == Place::Unseen {
            let within = self.filter.within;
            let function = self.guest.symbols.function_at(pc);
            let is_within = function.is_some_and(|it| within.is_empty() || within.contains(&it.name));
            *place = if is_within { Place::At(self.sites.len()) } else { Place::Outside };
            if is_within {
                self.sites.push(Site { pc, arrivals: 0, visits: 0 });
            }
        }
        let Place::At(site) = *place else { return None };
        let counts = &mut self.sites[site];
        counts.arrivals += 1;
        if counts.arrivals > self.filter.max_visits {
            return None;
        }
        counts.visits += 1;
        Some(Arrival { site, pc, visit: counts.visits, reachable: true })
    }

    /// Counts another visit at a point that has several for one arrival (corrupt stacks).
    pub(super) fn arrive_again(&mut self, at: Arrival) -> Arrival {
        self.sites[at.site].visits += 1;
        Arrival { visit: self.sites[at.site].visits, ..at }
    }

    /// Uncounts the latest arrival at an instruction, which was not a point after all.
    pub(super) fn cancel(&mut self, at: Arrival) {
        self.sites[at.site].visits -= 1;
    }
}

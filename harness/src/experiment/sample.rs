//! Samples the arrivals at one instruction by their state.

use super::LeftOut;
use crate::oracle::{ReturnPlace, State};

/// So many late arrivals at an instruction are taken for their state. Code that has more of them (a stack that grows with each
/// turn of a loop) repeats itself.
pub(super) const MOST_LATE: usize = 64;

/// The arrivals at one instruction.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    arrivals: u64,
    left_out: LeftOut,
    /// How many late arrivals were taken.
    late: usize,
    /// The states of those that were taken, each with the first arrival that had it; and whether that was cancelled.
    known: Vec<(State, u64, bool)>,
    /// The index in `known` of the latest state: most loops keep theirs.
    latest: usize,
    /// Whether only new states are taken from now on.
    is_closed: bool,
}

impl Tally {
    /// Counts an arrival, and says whether it is taken: it is among the first `most`, or the `wanted` one, or its state is new.
    #[inline]
    pub(super) fn takes(
        &mut self,
        most: u64,
        wanted: Option<u64>,
        state: impl FnOnce(Option<ReturnPlace>) -> State,
    ) -> bool {
        self.arrivals += 1;
        let most = if self.is_closed { 0 } else { most };
        most == u64::MAX || self.takes_sampled(most, wanted, state)
    }

    /// The same for an arrival that has been counted, where not all are taken.
    fn takes_sampled(
        &mut self,
        most: u64,
        wanted: Option<u64>,
        state: impl FnOnce(Option<ReturnPlace>) -> State,
    ) -> bool {
        let hint = self.known.get(self.latest).map(|(state, _, _)| state.place);
        let state = state(hint);
        let is_at_latest = self.known.get(self.latest).is_some_and(|(known, _, _)| *known == state);
        let known = Some(self.latest).filter(|_| is_at_latest);
        let known = known.or_else(|| self.known.iter().position(|(known, _, _)| *known == state));
        self.latest = known.unwrap_or(self.latest);
        // What was cancelled was judged by nobody.
        let is_new = known.is_none_or(|index| self.known[index].2);
        let is_late = self.arrivals > most && is_new && self.late < MOST_LATE;
        let is_taken = self.arrivals <= most || is_late || wanted == Some(self.arrivals);
        self.late += usize::from(is_late);
        match known {
            _ if !is_taken => {
                self.left_out.arrivals += 1;
                self.left_out.other_states += u64::from(known.is_none());
            }
            None => {
                self.latest = self.known.len();
                self.known.push((state, self.arrivals, false));
            }
            Some(index) if is_new => self.known[index] = (state, self.arrivals, false),
            Some(_) => {}
        }
        is_taken
    }

    /// Takes only new states from now on.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// Counts an arrival that cannot be taken.
    pub(super) const fn pass(&mut self) {
        self.arrivals += 1;
        self.left_out.arrivals += 1;
        self.left_out.other_states += 1;
    }

    /// The latest arrival, which was taken, was not a point after all.
    pub(super) fn cancel(&mut self) {
        let arrivals = self.arrivals;
        if let Some((_, _, cancelled)) = self.known.iter_mut().find(|(_, first, _)| *first == arrivals) {
            *cancelled = true;
        }
    }

    /// How many there were.
    pub(super) const fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// How many of them were not taken.
    pub(super) const fn left_out(&self) -> LeftOut {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_LATE, Tally};
    use crate::experiment::LeftOut;
    use crate::oracle::{ReturnPlace, State};

    const MOST: u64 = 4;

    fn state(distance: u64) -> State {
        State { distance, resume: 0x10, place: ReturnPlace::Slot { offset: -8, plain: true } }
    }

    /// The numbers of the arrivals that are taken, where these are their states.
    fn taken(tally: &mut Tally, states: &[u64], wanted: Option<u64>) -> Vec<u64> {
        let arrive = |distance: &u64| tally.takes(MOST, wanted, |_| state(*distance)).then(|| tally.arrivals());
        states.iter().filter_map(arrive).collect()
    }

    #[test]
    fn a_late_arrival_counts_if_its_state_is_new() {
        let mut tally = Tally::default();
        assert_eq!(taken(&mut tally, &[0, 0, 0, 0, 0, 0, 16, 16, 0, 16, 32], None), [1, 2, 3, 4, 7, 11]);
        assert_eq!(tally.left_out(), LeftOut { arrivals: 5, other_states: 0 });
    }

    #[test]
    fn each_part_of_a_state_makes_it_new() {
        let first = state(0);
        let places = [
            ReturnPlace::Slot { offset: -16, plain: true },
            ReturnPlace::Slot { offset: -8, plain: false },
            ReturnPlace::Register { register: crate::cpu::Register(1), plain: true },
            ReturnPlace::Elsewhere,
        ];
        let others = places.into_iter().map(|place| State { place, ..first });
        for other in others.chain([state(8), State { resume: 0x20, ..first }]) {
            let mut tally = Tally::default();
            assert!((0..MOST).all(|_| tally.takes(MOST, None, |_| first)));
            assert!(!tally.takes(MOST, None, |_| first));
            assert!(tally.takes(MOST, None, |_| other), "{other:?}");
            assert!(!tally.takes(MOST, None, |_| other), "{other:?}");
        }
    }

    #[test]
    fn states_beyond_the_bound_are_counted() {
        let states: Vec<u64> = (0..200).collect();
        let mut tally = Tally::default();
        assert_eq!(taken(&mut tally, &states, None).len(), MOST as usize + MOST_LATE);
        let left = 200 - MOST - MOST_LATE as u64;
        assert_eq!(tally.left_out(), LeftOut { arrivals: left, other_states: left });
        assert!(taken(&mut tally, &[0, 67], None).is_empty());
        assert_eq!(tally.left_out(), LeftOut { arrivals: left + 2, other_states: left });
    }

    #[test]
    fn a_wanted_arrival_counts_whatever_its_state() {
        assert_eq!(taken(&mut Tally::default(), &[0; 9], Some(7)), [1, 2, 3, 4, 7]);
    }

    #[test]
    fn a_cancelled_arrival_was_judged_by_nobody() {
        let mut tally = Tally::default();
        for _ in 0..MOST {
            assert!(tally.takes(MOST, None, |_| state(0)));
            tally.cancel();
        }
        // Again and again, but not for ever.
        for _ in 0..MOST_LATE {
            assert!(tally.takes(MOST, None, |_| state(0)));
            tally.cancel();
        }
        assert!(!tally.takes(MOST, None, |_| state(0)));
        assert_eq!(tally.left_out(), LeftOut { arrivals: 1, other_states: 0 });
    }
}

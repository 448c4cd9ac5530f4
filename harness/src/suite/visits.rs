//! Several visits of one experiment.

use crate::experiment::{Arrival, Column, Visit};
use crate::oracle::{AddressPlaces, Truth};
use crate::subject::Question;
use crate::trace::Point;

/// All of these, in order.
pub(super) struct All<'a>(pub(super) Vec<&'a mut dyn Visit>);

impl Visit for All<'_> {
    fn point(&mut self, at: &Arrival, within: Option<&str>, machine: &Point<'_>) {
        self.0.iter_mut().for_each(|visit| visit.point(at, within, machine));
    }

    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        self.0.iter_mut().for_each(|visit| visit.walk(at, within, column, question, truth));
    }

    fn again(&mut self, at: &Arrival, column: &Column<'_>) -> bool {
        // One that has to see the walk cannot be had without the others' seeing it.
        if let [visit] = self.0.as_mut_slice() { visit.again(at, column) } else { false }
    }

    fn places(&mut self, at: Arrival, found: &AddressPlaces, truth: &Truth) {
        self.0.iter_mut().for_each(|visit| visit.places(at, found, truth));
    }

    fn split(&mut self, at: Arrival) {
        self.0.iter_mut().for_each(|visit| visit.split(at));
    }

    fn is_full(&self, at: &Arrival) -> bool {
        self.0.iter().any(|visit| visit.is_full(at))
    }

    fn cancelled(&mut self, at: Arrival) {
        self.0.iter_mut().for_each(|visit| visit.cancelled(at));
    }
}

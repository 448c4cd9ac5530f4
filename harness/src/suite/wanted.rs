//! What a job is asked for, and what it gives.

use std::time::Duration;

use super::Job;
use crate::Error;
use crate::experiment::Visit;
use crate::explain::{Between, Explainer, PointName};
use crate::guest::Program;
use crate::interrupt::Interrupt;
use crate::oracle::Witnesses;
use crate::recording::{Section, Written};
use crate::scenario::Part;
use crate::subject::Subject;

/// The result of a job.
#[derive(Debug)]
pub struct Done {
    /// The recorded section.
    pub section: Section,
    /// The explanation of what is wanted.
    pub explained: Option<String>,
    /// The walks in words, where they are kept.
    pub walks: Option<Written>,
    /// How long the run took, without its setup.
    pub ran_for: Duration,
}

/// What is wanted of a run besides its verdicts.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// An explanation of this point, by the walks of this part.
    Point(&'a PointName, &'a Part),
    /// What changes from the first point to the second.
    Between(&'a PointName, &'a PointName, &'a Part),
    /// The walks in words.
    Walks,
    /// Nothing, and only the points at instructions from the first address to the last.
    Part(u64, u64),
}

impl<'a> Wanted<'a> {
    /// The points that are told.
    pub(super) fn points(&self) -> Vec<&'a PointName> {
        match *self {
            Self::Point(point, _) => vec![point],
            Self::Between(first, second, _) => vec![first, second],
            Self::Walks | Self::Part(..) => Vec::new(),
        }
    }
}

/// Whoever tells what is wanted.
pub(super) enum Told<'p> {
    Nothing,
    Point(Box<Explainer<'p>>),
    Between(Box<Between<'p>>),
}

impl<'p> Told<'p> {
    pub(super) fn of(wanted: Option<Wanted<'p>>, program: &'p Program, omissible: &'p [String]) -> Result<Self, Error> {
        Ok(match wanted {
            None | Some(Wanted::Walks | Wanted::Part(..)) => Self::Nothing,
            Some(Wanted::Point(point, part)) => Self::Point(Box::new(Explainer::new(program, point, part, omissible)?)),
            Some(Wanted::Between(first, second, part)) => {
                Self::Between(Box::new(Between::new(program, (first, second), part, omissible)?))
            }
        })
    }

    pub(super) fn visit(&mut self) -> Option<&mut dyn Visit> {
        match self {
            Self::Nothing => None,
            Self::Point(explainer) => Some(&mut **explainer),
            Self::Between(between) => Some(&mut **between),
        }
    }

    pub(super) fn finish(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Point(explainer) => explainer.finish(),
            Self::Between(between) => between.finish(),
        }
    }
}

impl Job<'_> {
    /// Runs, and explains one point in full.
    ///
    /// # Errors
    ///
    /// As [`Job::run`], and [`Error::Usage`] when the guest never arrives at the point.
    pub fn explain(
        self,
        subjects: &[Box<dyn Subject + Send>],
        point: &PointName,
        part: &Part,
    ) -> Result<String, Error> {
        self.tell(subjects, Wanted::Point(point, part))
    }

    /// Runs, and tells what changes from the first point to the second.
    ///
    /// # Errors
    ///
    /// As [`Job::explain`].
    pub fn explain_between(
        self,
        subjects: &[Box<dyn Subject + Send>],
        (first, second): (&PointName, &PointName),
        part: &Part,
    ) -> Result<String, Error> {
        self.tell(subjects, Wanted::Between(first, second, part))
    }

    fn tell(self, subjects: &[Box<dyn Subject + Send>], wanted: Wanted<'_>) -> Result<String, Error> {
        let done = self.execute(subjects, Witnesses::default(), Some(wanted), &Interrupt::default())?;
        let Done { section, explained, .. } = done;
        let points = wanted.points();
        let Some(body) = explained else {
            let no_point = points.iter().map(|point| self.no_point(&section, point));
            return Err(no_point.flatten().next().unwrap_or_else(|| Error::Usage("there is no such point".to_owned())));
        };
        let verdict = match &section.void {
            Some(reason) => format!("the run is void: {reason}"),
            None => "the run is not void: the witnesses of the truth agree to its end".to_owned(),
        };
        let points: Vec<String> = points.iter().map(ToString::to_string).collect();
        Ok(format!("{} {}\n{verdict}\n{body}", section.title(), points.join(" -> ")))
    }

    /// Why nothing was told of a point, if nothing can be.
    fn no_point(self, section: &Section, point: &PointName) -> Option<Error> {
        let instructions = section.functions.iter().filter(|function| function.name == point.function);
        let there = instructions.flat_map(|function| &function.instructions).find(|one| one.offset == point.offset);
        let arrivals = there.map_or(0, |instruction| instruction.visits);
        let scenario = &self.scenario.name;
        if !(1..=arrivals).contains(&point.visit) {
            let PointName { function, offset, .. } = point;
            let (there, times) = (format!("{function}+{offset:#x}"), if arrivals == 1 { "time" } else { "times" });
            return Some(Error::Usage(format!(
                "{scenario}: the guest arrives {arrivals} {times} at {there}, not at {point}"
            )));
        }
        let is_told =
            there.is_some_and(|one| one.runs.iter().flatten().any(|run| (run.first..=run.last).contains(&point.visit)));
        let reason = "nobody can say who will resume there (docs/scenario.md, fibers), or its interrupt is not taken";
        (!is_told).then(|| Error::Usage(format!("{scenario}: {point} is no point: {reason}")))
    }
}

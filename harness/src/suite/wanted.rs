//! What a job is asked for, and what it gives.

use std::time::Duration;

use crate::explain::PointName;
use crate::recording::{Section, Written};
use crate::scenario::Part;

/// The result of a job.
#[derive(Debug)]
pub struct Done {
    /// The recorded section.
    pub section: Section,
    /// The explanation of the wanted point.
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
    /// The walks in words.
    Walks,
}

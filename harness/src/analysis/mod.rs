//! What follows from recordings: gates, claims, the atlas. Pure functions; nothing here runs or judges anything.

pub mod atlas;
pub mod claims;
pub mod diff;
pub mod elsewhere;
pub mod gate;
pub mod headline;
pub mod intervals;
mod join;
pub mod linux;
pub mod merge;
pub mod novelty;
pub mod part;
pub mod select;
pub mod summary;
pub mod windows;

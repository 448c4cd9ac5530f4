//! The printed forms of a recording. They only read it.

pub mod atlas;
mod cases;
pub mod certificate;
pub mod diff;
pub mod findings;
pub mod html;
pub mod json;
pub mod junit;
pub mod known;
pub mod ktap;
mod line;
pub mod linux;
pub mod mutation;
pub mod page;
pub mod rows;
pub mod sarif;
pub mod screen;
pub mod skipped;
pub mod snapshot;
mod style;
pub mod text;

//! The printed forms of a recording. They only read it.

pub mod atlas;
pub mod certificate;
pub mod findings;
pub mod html;
pub mod json;
pub mod linux;
pub mod page;
pub mod rows;
pub mod skipped;
pub mod snapshot;
pub mod text;

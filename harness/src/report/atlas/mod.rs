//! The printed forms of the atlas.

pub mod html;
pub mod json;
pub mod text;

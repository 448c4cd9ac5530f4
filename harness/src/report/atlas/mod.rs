//! The printed forms of the atlas; the HTML report draws it too.

pub mod json;
pub mod screen;
pub mod text;

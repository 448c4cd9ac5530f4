//! The printed forms of the atlas; the HTML report draws it too.

mod grid;
pub mod json;
pub mod screen;
pub mod text;

//! The colours of text for people. The caller strips them where they do not belong.

use anstyle::{AnsiColor, Style};

/// What is wrong, or was not judged.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is right.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What should be looked at.
pub(super) const NOTE: Style = AnsiColor::Yellow.on_default();
/// What matters less.
pub(super) const DIM: Style = Style::new().dimmed();

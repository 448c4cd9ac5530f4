//! The command that shows more of what a recording holds.

use super::Section;

/// What stands before the arguments of a program.
pub(crate) const ARGUMENTS: &str = " -- ";

impl Section {
    /// The command that explains a point to one unwinder. A shell takes it as it stands.
    #[must_use]
    pub fn explain_command(&self, point: &str, unwinder: &str) -> String {
        let (target, variant) = match (&self.target, &self.variant) {
            (Some(target), _) => (target.clone(), String::new()),
            (None, Some(variant)) => (word(&self.scenario), format!(" --variant {}", word(variant))),
            (None, None) => (word(&self.scenario), String::new()),
        };
        let command = self.column(unwinder).and_then(|column| column.command.as_ref());
        let unwinder = match command {
            Some(command) => format!("--unwinder-cmd {}", word(command)),
            None => format!("--unwinder {}", word(unwinder)),
        };
        let (point, kind) = (word(point), self.interrupt.name());
        // The arguments of a program stand last.
        let (target, last) = match target.split_once(ARGUMENTS) {
            Some((target, arguments)) => (target, format!("{ARGUMENTS}{arguments}")),
            None => (target.as_str(), String::new()),
        };
        format!("unwind-harness explain {target} {point} --interrupt {kind}{variant} {unwinder}{last}")
    }
}

/// A word of a command, quoted if a shell would not take it as it is.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./+#:@=,-".contains(letter);
    if !text.starts_with('#') && !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

//! Lines of text that fit.

/// A number and its noun.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A text that fits into this many columns; dots stand for what does not.
pub(super) fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{}..", kept.trim_end())
}

/// Items in as many lines as they need, none longer than the width, if one item fits: what stands before the first one, between two
/// of a line, and before further lines.
pub(super) fn wrapped(first: &str, items: &[String], (gap, further): (&str, &str), width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            // What divides it from a further line has room too.
            Some(line) if line.chars().count() + gap.len() + item.chars().count() + gap.trim_end().len() <= width => {
                line.push_str(gap);
                line.push_str(item);
            }
            Some(line) => {
                line.push_str(gap.trim_end());
                lines.push(format!("{further}{item}"));
            }
            None => lines.push(format!("{first}{item}")),
        }
    }
    lines
}

/// A command, over several lines of this width if it must be, so that a shell still takes it as it stands.
pub(super) fn command(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::from("   ")];
    for word in words(text) {
        let last = lines.last().map_or(0, |line| line.chars().count());
        let is_fresh = lines.last().is_none_or(|line| line.trim().is_empty());
        if !is_fresh && last + 1 + word.chars().count() + 2 > width {
            if let Some(line) = lines.last_mut() {
                line.push_str(" \\");
            }
            lines.push(String::from("     "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(&word);
        }
    }
    lines
}

/// The words of a command, those in single quotes whole.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if !is_quoted => is_escaped = true,
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// As many of these names as fit, and how many more there are.
pub(super) fn listed(names: &[&str], width: usize) -> String {
    let all = names.join(", ");
    if all.chars().count() <= width {
        return all;
    }
    let more = |left: usize| format!(" and {left} more");
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let gap = if index > 0 { ", " } else { "" };
        let left = names.len() - index - 1;
        if text.chars().count() + gap.len() + name.chars().count() + more(left).len() > width && index > 0 {
            return text + &more(left + 1);
        }
        text += gap;
        text += name;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{clipped, command, listed};

    #[test]
    fn a_long_command_is_one_command_for_a_shell() {
        let text = "unwind-harness explain fgraph return_to_handler+0x10#1 --interrupt irq --unwinder frame-record";
        let lines = command(text, 60);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= 60), "{lines:?}");
        let joined = lines.join("\n").replace("\\\n", "");
        assert_eq!(joined.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_quoted_stays_whole() {
        let lines =
            command("explain leaf --unwinder-cmd 'python3 a/long/path/to/some/unwinder.py --quiet' --quiet", 30);
        assert!(
            lines.iter().any(|line| line.contains("'python3 a/long/path/to/some/unwinder.py --quiet'")),
            "{lines:?}"
        );
    }

    #[test]
    fn names_that_do_not_fit_are_counted() {
        assert_eq!(listed(&["abc", "def"], 8), "abc, def");
        assert_eq!(listed(&["abcdefgh", "ijklmnop", "qrstuvwx"], 24), "abcdefgh and 2 more");
    }

    #[test]
    fn a_clipped_text_says_so() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcd..");
    }
}

//! The list of what was left out of a run, before its last line.

use std::io::Write;

use crate::recording::Skip;
use crate::report::style::{BAD, NOTE};

/// How many names stand before those that only count.
const NAMES: usize = 4;

/// Writes the list, if it is not empty: a line for each reason. Styles are ANSI codes; the caller strips them where they do not
/// belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(skipped: &[Skip], out: &mut dyn Write) -> std::io::Result<()> {
    let mut groups: Vec<(&str, Vec<&Skip>)> = Vec::new();
    for skip in skipped {
        // An error names its file itself.
        let reason = skip.reason.strip_prefix(&format!("{}: ", skip.what)).unwrap_or(&skip.reason);
        match groups.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, skips)) => skips.push(skip),
            None => groups.push((reason, vec![skip])),
        }
    }
    if !groups.is_empty() {
        writeln!(out, "skipped:")?;
    }
    for (reason, skips) in groups {
        let style = if skips.iter().any(|skip| skip.failed) { BAD } else { NOTE };
        let names: Vec<&str> = skips.iter().take(NAMES).map(|skip| skip.what.as_str()).collect();
        let more = if skips.len() > NAMES { format!(" and {} more", skips.len() - NAMES) } else { String::new() };
        writeln!(out, "  {style}{}{more}{style:#}: {reason}", names.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_is_one_line() {
        let mut skipped = vec![Skip::absent("a.txt", "not a kernel image"), Skip::failed("b", "b: cut short")];
        skipped.extend((0..6).map(|run| Skip::failed(format!("run {run}"), "no symbol")));
        let mut out = Vec::new();
        write(&skipped, &mut anstream::StripStream::new(&mut out)).unwrap();
        let expected = "skipped:\n  a.txt: not a kernel image\n  b: cut short\n  run 0, run 1, run 2, run 3 and 2 more: no symbol\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut none = Vec::new();
        write(&[], &mut none).unwrap();
        assert!(none.is_empty());
    }
}

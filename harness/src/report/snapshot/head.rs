//! The lines above the functions: what the file's characters mean, and the counts.

use std::fmt::Write as _;

use super::{Start, start_named};
use crate::recording::Counters;

/// Explains the characters, in each file. docs/snapshot.md explains the rest.
pub(super) const LEGEND: [&str; 3] = [
    "= exact  ~ cautious  3 or (12): stopped after so many frames  . no walk",
    "a capital was claimed, a small letter flagged: Skipped Truncated sUbstituted | Invented Repeated X:state Dead",
    "irq 2: both arrivals  #1,3: these  [=*9s]: nine exact, then a skip  \": as the column before  -irq: masked there",
];

/// The counts of one subject, for kinds of interruption and starts that have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    /// The subject's column.
    pub(super) letter: char,
    pub(super) subject: String,
    pub(super) kinds: Vec<String>,
    pub(super) starts: Vec<Start>,
    pub(super) counters: Counters,
    /// Walks that read outside of their stacks.
    pub(super) reads_outside_stacks: u64,
}

impl Count {
    /// The line above.
    pub(super) fn head() -> String {
        let names = ["walks", "exact", "cautious", "stopped", "flagged", "overstated", "unsound", "reachable"];
        Self::table("", names.map(str::to_owned))
    }

    fn table(subject: &str, counts: [String; 8]) -> String {
        let [walks, exact, cautious, stopped, flagged, overstated, unsound, reachable] = counts;
        format!(
            "{subject:<28} {walks:>6} {exact:>6} {cautious:>8} {stopped:>7} {flagged:>7} {overstated:>10} {unsound:>7} {reachable:>9}"
        )
    }

    pub(super) fn write(&self) -> String {
        let Counters {
            walks, exact, cautious, incomplete, wrong_flagged, overstated, unsound, unsound_reachable, ..
        } = self.counters;
        let counts = [walks, exact, cautious, incomplete, wrong_flagged, overstated, unsound, unsound_reachable];
        // Zeros would hide the numbers that matter.
        let counts = counts.map(|count| if count == 0 { "-".to_owned() } else { count.to_string() });
        let mut line = Self::table(&format!("{} {}", self.letter, self.subject), counts);
        let starts: Vec<_> = self.starts.iter().map(|start| start.name()).collect();
        let _ = write!(line, "  {}@{}", self.kinds.join(","), starts.join(","));
        let Counters { crashed, timed_out, .. } = self.counters;
        for (count, what) in [(self.reads_outside_stacks, "outside"), (crashed, "crashed"), (timed_out, "timeout")] {
            if count > 0 {
                let _ = write!(line, " {count} {what}");
            }
        }
        line
    }

    /// Whether a line is one of these.
    pub(super) fn is_count(line: &str) -> bool {
        line.len() > 1 && line.as_bytes()[1] == b' '
    }

    /// Reads what [`Count::write`] has written.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is not of the form `a sframe 3 2 - - 1 - - - irq@regs`");
        let number = |text: &str| if text == "-" { Ok(0) } else { text.parse::<u64>().map_err(|_| wrong()) };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [letter, subject, rest @ ..] = fields.as_slice() else { return Err(wrong()) };
        let Some((counts, [who, extra @ ..])) = rest.split_first_chunk::<8>() else { return Err(wrong()) };
        let (kinds, starts) = who.split_once('@').ok_or_else(wrong)?;
        let starts: Option<Vec<Start>> = starts.split(',').map(start_named).collect();
        let [walks, exact, cautious, stopped, flagged, overstated, unsound, reachable] = counts;
        let counters = Counters {
            masked: 0, // the verdicts say it
            walks: number(walks)?,
            exact: number(exact)?,
            cautious: number(cautious)?,
            incomplete: number(stopped)?,
            wrong_flagged: number(flagged)?,
            overstated: number(overstated)?,
            unsound: number(unsound)?,
            unsound_reachable: number(reachable)?,
            crashed: 0, // below
            timed_out: 0,
        };
        let mut more = [("outside", 0), ("crashed", 0), ("timeout", 0)];
        for pair in extra.chunks(2) {
            let [count, what] = pair else { return Err(wrong()) };
            more.iter_mut().find(|(name, _)| name == what).ok_or_else(wrong)?.1 = number(count)?;
        }
        let [(_, reads_outside_stacks), (_, crashed), (_, timed_out)] = more;
        Ok(Self {
            letter: letter.chars().next().ok_or_else(wrong)?,
            subject: (*subject).to_owned(),
            kinds: kinds.split(',').map(str::to_owned).collect(),
            starts: starts.ok_or_else(wrong)?,
            counters: Counters { crashed, timed_out, ..counters },
            reads_outside_stacks,
        })
    }
}

/// Marks a line that continues on the next.
const FOLD: char = '\\';

/// Breaks a line that is wider than `width`.
pub(super) fn fold(line: &str, width: usize, out: &mut String) {
    const INDENT: usize = 19;
    let mut rest: Vec<char> = line.chars().collect();
    let mut indent = 0;
    while indent + rest.len() > width {
        // One column is for the mark. A space at the start of the next line would be lost.
        let most = width - indent - 1;
        let breaks = |at: &usize| matches!(rest[at - 1], ' ' | ']' | ',' | '|') && rest[*at] != ' ';
        let at = (INDENT + 1..=most).rev().find(breaks);
        let at = at.or_else(|| (1..=most).rev().find(|at| rest[*at] != ' ')).unwrap_or(most);
        let after = rest.split_off(at);
        out.extend(std::iter::repeat_n(' ', indent));
        out.extend(&rest);
        out.extend([FOLD, '\n']);
        rest = after;
        indent = INDENT;
    }
    out.extend(std::iter::repeat_n(' ', indent));
    out.extend(&rest);
    out.push('\n');
}

/// The lines of a text as they were before [`fold`], each with its number from 1.
pub(super) fn unfold(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (content, goes_on) = line.strip_suffix(FOLD).map_or((line, false), |line| (line, true));
        match lines.last_mut().filter(|_| is_open) {
            Some((_, last)) => *last += content.trim_start(),
            None => lines.push((number, content.to_owned())),
        }
        is_open = goes_on;
    }
    lines
}

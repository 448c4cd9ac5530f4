//! The unwind rows of one guest (`check`), before and now.

use super::{Change, RunDiff, What, of_run};
use crate::recording::rows::{FunctionRows, GuestRows, TableResult};

/// A row, or several, and what is wrong with it.
type Place<'r> = (&'r str, &'r str, u64, u64, String);

/// How a guest's rows differ, if they do.
pub(super) fn diff(old: &GuestRows, new: &GuestRows) -> Option<RunDiff> {
    let mut notes = Vec::new();
    let state = |guest: &GuestRows| match (&guest.void, &guest.not_judged) {
        (Some(reason), _) => format!("void ({reason})"),
        (None, Some(reason)) => format!("not judged ({reason})"),
        (None, None) => "judged".to_owned(),
    };
    if state(old) != state(new) {
        notes.push(format!("was {}, is {}", state(old), state(new)));
    }
    let functions = |left: &GuestRows, right: &GuestRows, what: &str, notes: &mut Vec<String>| {
        let is_gone = |function: &&FunctionRows| !right.functions.iter().any(|other| other.name == function.name);
        let gone = left.functions.iter().filter(is_gone);
        notes.extend(gone.map(|function| format!("{} is only in the {what} one", function.name)));
    };
    let is_judged = |guest: &GuestRows| guest.void.is_none() && guest.not_judged.is_none();
    let mut changes = Vec::new();
    if is_judged(old) && is_judged(new) {
        functions(old, new, "old", &mut notes);
        functions(new, old, "new", &mut notes);
        let (before, now) = (places(old), places(new));
        changes.extend(now.iter().filter(|place| !before.contains(place)).map(|place| change(place, What::Opened)));
        changes.extend(before.iter().filter(|place| !now.contains(place)).map(|place| change(place, What::Closed)));
    }
    of_run(format!("check {}", new.name), notes, changes)
}

/// What is wrong, or was not judged.
fn places(guest: &GuestRows) -> Vec<Place<'_>> {
    let tables = guest.functions.iter().flat_map(|function| function.tables.iter().map(move |table| (function, table)));
    tables.flat_map(|(function, table)| of_table(function, table)).collect()
}

fn of_table<'r>(function: &'r FunctionRows, table: &'r TableResult) -> Vec<Place<'r>> {
    let (name, format) = (function.name.as_str(), table.format.as_str());
    let wrong = table
        .wrong
        .iter()
        .map(|wrong| (name, format, wrong.offset, wrong.offset, format!("{} is wrong", wrong.part.name())));
    let open =
        table.unjudged.iter().map(|open| (name, format, open.first, open.last, format!("not judged: {}", open.reason)));
    wrong.chain(open).collect()
}

fn change((function, format, first, last, says): &Place<'_>, what: What) -> Change {
    let range = Some((*first, *last));
    let (old, new) = if what == What::Opened { (None, range) } else { (range, None) };
    let right = "right".to_owned();
    let verdicts = if what == What::Opened { (right, says.clone()) } else { (says.clone(), right) };
    Change {
        unwinder: (*format).to_owned(),
        what,
        function: (*function).to_owned(),
        old,
        new,
        verdicts,
        instructions: 1,
        is_worse: what == What::Opened,
        command: None,
    }
}

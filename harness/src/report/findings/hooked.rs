//! Hooked return addresses: the sentences and tables that come first, and all rows.

use std::io::Write;

use crate::analysis::atlas::{self, Row, Tally};
use crate::analysis::headline::{
    Case, Group, Hole, Missing, Preempted, Starts, Switched, cases, holes, worst_and_best,
};
use crate::recording::Recording;

/// While `return_to_handler` runs, where is the original return address, and which unwinders notice? (Thread S2.)
pub(super) fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let rows = atlas::rows(recording);
    writeln!(
        out,
        "A walk is unsound if it is said to be reliable, but leaves out or replaces a caller. **Callable** is what Linux asks for: \
         a reliable walk has one user, live patching, of a task that was switched out (`@task`). From registers or in a handler \
         nobody asks for one: such walks are **hypothetical**, questions about the algorithm. Counted are distinct instructions \
         (build, function, offset; unsound if any arrival is). They are those of the guests, whose handlers mimic the kernel's \
         by hand: the numbers compare designs, and say nothing about how long the kernel's own functions are.\n"
    )?;
    write_holes(&holes(recording, &rows), out)?;
    let cases = cases(&rows);
    writeln!(
        out,
        "\nCallable, of all instructions at which a return address is hooked; unsound instructions of the worst and the best \
         unwinder of each fix (mainline and `F0`: Linux's trampoline; [fixes](../atlas.md#fixes)), then the worst one's walks, and how \
         many percent of the best one's walks are right and claimed:\n"
    )?;
    write_cases(&cases, Starts::Callable, out)?;
    writeln!(out, "Hypothetical starts, where the interruption is not masked, in the same form:\n")?;
    write_cases(&cases, Starts::Hypothetical, out)?;
    writeln!(out, "## All rows\n")?;
    writeln!(
        out,
        "Thread S2 asks why other architectures do not suffer from the transient windows, the instructions at which the address \
         that a tracer took off the stack is nowhere. They have them too; what differs is which unwinders notice. Counted are \
         unsound instructions of all, and unsound walks of all; `right` is the share of walks whose whole trace is right and \
         claimed. Walks are unrecoverable where no rule can find the address. [atlas.md](../atlas.md) explains the columns and the fixes; \
         the command shows each row's places.\n"
    )?;
    write_rows(&rows, out)
}

/// One line for each hole, with all unwinders that have it.
fn write_holes(holes: &[Hole<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    let mut lines: Vec<(&str, String, Vec<String>, &str)> = Vec::new();
    for hole in holes {
        let preempted = hole.preempted.iter().map(|it| (preempted(it), &it.command));
        let switched = hole.switched.iter().map(|it| (switched(it), &it.command));
        let Row { cpu, unwinder, status, .. } = hole.row;
        for (text, command) in preempted.chain(switched) {
            let name = format!("**`{unwinder}`** ({})", status.name());
            match lines.iter_mut().find(|line| (line.0, &line.1) == (cpu, &text)) {
                Some(line) => line.2.push(name),
                None => lines.push((cpu, text, vec![name], command)),
            }
        }
    }
    for (cpu, text, unwinders, command) in lines {
        writeln!(out, "* {cpu}, {}: a task {text}. `{command}`", unwinders.join(", "))?;
    }
    Ok(())
}

fn preempted(it: &Preempted) -> String {
    let Preempted { function, unsound, preemptible, off, .. } = it;
    let place = if unsound == preemptible {
        let off = if *off > 0 { " outside of its preempt-off part" } else { "" };
        format!("anywhere in `{function}`{off}")
    } else {
        format!("at {unsound} of the {preemptible} instructions of `{function}` at which it can be")
    };
    let ranges = it.ranges.iter().map(|(first, last)| match first == last {
        true => format!("`+{first:#x}`"),
        false => format!("`+{first:#x}..+{last:#x}`"),
    });
    let off = if *off > 0 { format!(", {off} more are preempt-off") } else { String::new() };
    format!(
        "preempted {place} is reported reliable {} ({unsound} instructions of the guest's: {}{off})",
        missing(&it.missing),
        ranges.collect::<Vec<_>>().join(", ")
    )
}

fn switched(it: &Switched) -> String {
    let path: Vec<String> = it.path.iter().map(|name| format!("`{name}`")).collect();
    format!("that switches itself out by {} is reported reliable {}", path.join(" < "), missing(&it.missing))
}

fn missing(missing: &Missing) -> String {
    let names: Vec<String> = missing.functions.iter().map(|name| format!("`{name}`")).collect();
    let names = if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) };
    if missing.is_skipped {
        format!("without the traced function's caller{names}")
    } else {
        format!("with something else in the place of the traced function's caller{names}")
    }
}

fn write_cases(cases: &[Case<'_>], starts: Starts, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "| cpu | return hook | mainline | proposals | designs |\n|---|---|---|---|---|")?;
    for case in cases {
        let cells = Group::ALL.map(|group| cell(case, group, starts));
        writeln!(out, "| {} | {} | {} |", case.cpu, case.return_hook, cells.join(" | "))?;
    }
    writeln!(out)
}

/// The fixes of a group, each with its worst and its best unwinder.
fn cell(case: &Case<'_>, group: Group, starts: Starts) -> String {
    let fixes = case.rows.iter().filter(|((of, _), _)| *of == group);
    let texts = fixes.filter_map(|((_, fix), rows)| {
        let (worst, best) = worst_and_best(rows, starts)?;
        let count = |row: &Row| starts.of(row).unsound_instructions.len();
        let of = |row: &Row| starts.of(row).instructions.len();
        let (all, right) = (of(best), starts.of(best).right());
        let head = if group == Group::Mainline { String::new() } else { format!("{fix}: ") };
        // Not every build of a fix is walked by both.
        let of_worst = if of(worst) == all { String::new() } else { format!(" of {}", of(worst)) };
        let range = if (count(worst), of(worst)) == (count(best), all) {
            format!("**{}**", count(worst))
        } else if group == Group::Designs {
            format!("**{}**{of_worst} to {}", count(worst), count(best))
        } else {
            format!("**{}**{of_worst} `{}` to {} `{}`", count(worst), worst.unwinder, count(best), best.unwinder)
        };
        let walks = format!("{} of {} walks", starts.of(worst).unsound, starts.of(worst).walks);
        Some(format!("{head}{range} of {all} ({walks}), {right:.0} % right"))
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join("<br>") }
}

fn write_rows(rows: &[Row], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "| cpu | return hook | fix | unwinder | status | callable: instructions | walks | right | hypothetical: instructions | walks | \
         of them masked | right | unrecoverable | to see it |\n|---|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    )?;
    for row in rows {
        let Row { cpu, return_hook, fix, unwinder, unrecoverable, status, .. } = row;
        let [instructions, walks, right] = counts(&row.callable);
        let [other_instructions, other_walks, other_right] = counts(&row.hypothetical);
        let masked = row.hypothetical.unsound - row.hypothetical.unsound_reachable;
        writeln!(
            out,
            "| {cpu} | {return_hook} | {fix} | `{unwinder}` | {} | {instructions} | {walks} | {right} | {other_instructions} | \
             {other_walks} | {masked} | {other_right} | {unrecoverable} | `{}` |",
            status.name(),
            row.command()
        )?;
    }
    writeln!(out)
}

/// Unsound instructions, unsound walks, and the share that is right; nothing where there is no walk.
fn counts(tally: &Tally) -> [String; 3] {
    if tally.walks == 0 {
        return ["-", "-", "-"].map(str::to_owned);
    }
    [
        format!("{} of {}", tally.unsound_instructions.len(), tally.instructions.len()),
        format!("{} of {}", tally.unsound, tally.walks),
        format!("{:.1} %", tally.right()),
    ]
}

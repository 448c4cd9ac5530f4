//! What a run over kernel images found, as a page for people, docs/linux.md, and release by release in docs/data/linux.md.

use std::collections::BTreeSet;
use std::io::Write;

use crate::analysis::linux::{Shown, Status, compare_releases, shown};
use crate::recording::{ColumnResult, Recording, Section};
use crate::scenario::Scenario;
use crate::subject::Claims;

/// Writes the page.
///
/// # Errors
///
/// Those of `out`.
pub fn write(scenarios: &[Scenario], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "# Linux\n")?;
    writeln!(out, "Generated: `unwind-harness findings --linux FOLDER --write`. Do not edit.\n")?;
    writeln!(
        out,
        "Each kernel is a distribution's own image, and the judged unwinder is the kernel's own compiled code. Nothing boots: one of \
         the kernel's functions runs in an emulator, in the state of a kernel thread; before every instruction an exception goes \
         through the kernel's real entry code, and in its handler the kernel's `arch_stack_walk_reliable` (`linux`), \
         `arch_stack_walk` (`linux:best-effort`) or `stack_trace_save_tsk_reliable` (`linux:task`) is called. What it returns is \
         compared with the calls that are really waiting, which are known without any unwind data. Alternatives, static keys and \
         static calls are as they are linked; docs/linux-runs.md says more.\n"
    )?;
    if let Some(partial) = &recording.partial {
        writeln!(out, "**{partial}.**\n")?;
    }
    let shown = shown(scenarios, recording);
    write_summary(&shown, out)?;
    write_defects(&shown, out)?;
    write_agreements(recording, out)
}

/// Writes the page of numbers: docs/data/linux.md.
///
/// # Errors
///
/// Those of `out`.
pub fn write_numbers(scenarios: &[Scenario], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "# Linux in numbers\n")?;
    writeln!(out, "Generated: `unwind-harness findings --linux FOLDER --write`. Do not edit.\n")?;
    if let Some(partial) = &recording.partial {
        writeln!(out, "**{partial}.**\n")?;
    }
    write_matrix(&shown(scenarios, recording), out)?;
    write_images(recording, out)
}

/// A line for each defect and CPU: since when it is there, and whether it still is.
fn write_summary(shown: &[Shown<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Since when, and whether still\n")?;
    writeln!(
        out,
        "`N of M`: of the walks of that kind, so many show the defect. [Release by release](data/linux.md) has all images, and the newest \
         of each CPU in numbers, workload by workload.\n"
    )?;
    writeln!(
        out,
        "| defect | CPU | oldest image that has it | newest image that has it | walks there | other images |"
    )?;
    writeln!(out, "|---|---|---|---|---:|---|")?;
    for its in shown.chunk_by(|one, other| one.defect.id == other.defect.id && cpu(one.section) == cpu(other.section)) {
        let (id, of_cpu) = (&its[0].defect.id, cpu(its[0].section));
        let open = |shown: &&Shown<'_>| matches!(shown.status, Status::Open { .. });
        let [oldest, newest] = [its.iter().find(open), its.iter().rfind(open)];
        let release = |shown: Option<&Shown<'_>>| shown.map_or("none", Shown::release).to_owned();
        let walks = newest.map_or_else(|| "-".to_owned(), |newest| in_short(&newest.status));
        let of = |name: &str, is_it: fn(&Status) -> bool| {
            let count = its.iter().filter(|shown| is_it(&shown.status)).count();
            (count > 0).then(|| format!("{name} in {count}"))
        };
        let others = [
            of("closed", |status| matches!(status, Status::Closed(_))),
            of("absent", |status| matches!(status, Status::Absent(_))),
            of("not judged", |status| matches!(status, Status::NotJudged(_))),
        ];
        let others: Vec<String> = others.into_iter().flatten().collect();
        let others = if others.is_empty() { "-".to_owned() } else { others.join(", ") };
        let (oldest, newest) = (release(oldest), release(newest));
        writeln!(out, "| [{id}](#{id}-{of_cpu}) | {of_cpu} | {oldest} | {newest} | {walks} | {others} |")?;
    }
    writeln!(out)
}

/// A status, as a cell of a table.
fn in_short(status: &Status) -> String {
    match status {
        Status::Open { walks, of, .. } => format!("{walks} of {of}"),
        Status::Closed(_) => "**closed**".to_owned(),
        Status::Absent(_) => "absent".to_owned(),
        Status::NotJudged(_) => "?".to_owned(),
    }
}

/// Release against defect.
fn write_matrix(shown: &[Shown<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    let ids: BTreeSet<&str> = shown.iter().map(|shown| shown.defect.id.as_str()).collect();
    let mut images: Vec<(&str, &str)> = shown.iter().map(|shown| (cpu(shown.section), shown.release())).collect();
    images.sort_by(|left, right| left.0.cmp(right.0).then_with(|| compare_releases(left.1, right.1)));
    images.dedup();
    writeln!(out, "## Defects by release\n")?;
    writeln!(
        out,
        "`N of M` walks show the defect; **closed**: walks of that kind were made, and none shows it; absent: the image has nothing of \
         the kind; ?: not judged. Where a defect is of another CPU, the cell is empty.\n"
    )?;
    writeln!(out, "| CPU | release | {} |", Vec::from_iter(ids.iter().copied()).join(" | "))?;
    writeln!(out, "|---|---|{}", "---|".repeat(ids.len()))?;
    for (of_cpu, release) in images {
        let cell = |id: &&str| {
            let here = |shown: &&Shown<'_>| {
                shown.defect.id == **id && cpu(shown.section) == of_cpu && shown.release() == release
            };
            shown.iter().find(here).map_or(String::new(), |shown| in_short(&shown.status))
        };
        writeln!(out, "| {of_cpu} | {release} | {} |", ids.iter().map(cell).collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)
}

/// Each defect in a few lines.
fn write_defects(shown: &[Shown<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## The defects\n")?;
    let ids: BTreeSet<(&str, &str)> =
        shown.iter().map(|shown| (shown.defect.id.as_str(), cpu(shown.section))).collect();
    for (id, of_cpu) in ids {
        let its: Vec<&Shown<'_>> =
            shown.iter().filter(|shown| shown.defect.id == id && cpu(shown.section) == of_cpu).collect();
        let is_open = |shown: &&&Shown<'_>| matches!(shown.status, Status::Open { .. });
        let Some(latest) = its.last() else { continue };
        writeln!(out, "### {id} ({of_cpu})\n")?;
        writeln!(out, "{}\n", latest.defect.says)?;
        writeln!(out, "Why: {}\n", latest.defect.why)?;
        let open: Vec<_> = its.iter().filter(is_open).collect();
        let (Some(first), Some(last)) = (open.first(), open.last()) else {
            writeln!(out, "Not open in any of these images.\n")?;
            continue;
        };
        write_status(&its, first.release(), last, out)?;
        if let Some(walk) = last.first {
            let join = |entries: &[String]| entries.join(" < ");
            writeln!(out, "* At `{}`, the walk gave: `{}`", walk.point, join(&walk.got))?;
            writeln!(out, "* True is: `{}`", join(&walk.expected))?;
            let Section { scenario, interrupt, .. } = last.section;
            let name = last.defect.unwinder.split('@').next().unwrap_or_default();
            writeln!(
                out,
                "* To see it: `unwind-harness explain --linux IMAGE {scenario} '{}' --interrupt {} --unwinder {name}`\n",
                walk.point,
                interrupt.name()
            )?;
        }
    }
    Ok(())
}

fn write_status(its: &[&Shown<'_>], since: &str, last: &Shown<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let Status::Open { walks, instructions, of } = last.status else { return Ok(()) };
    let places = if instructions == 1 { "instruction" } else { "distinct instructions" };
    writeln!(
        out,
        "* In {}: {walks} of {of} walks of `{}`, at {instructions} {places}. The oldest of these images that has it is {since}.",
        last.release(),
        last.defect.unwinder
    )?;
    // Releases that fare alike for the same reason are told together.
    let mut others: Vec<(String, Vec<&str>, String)> = Vec::new();
    for shown in its {
        let (what, why) = match &shown.status {
            Status::Closed(of) => ("closed", format!("{of} walks")),
            Status::Absent(why) => ("absent", why.clone()),
            // The image's path is in front of the reason; its release says the same.
            Status::NotJudged(why) => {
                ("not judged", why.rsplit_once(".deb: ").map_or(why.as_str(), |(_, reason)| reason).to_owned())
            }
            Status::Open { .. } => continue,
        };
        match others.iter_mut().find(|(its_what, _, its_why)| its_what == what && *its_why == why) {
            Some((_, releases, _)) => releases.push(shown.release()),
            None => others.push((what.to_owned(), vec![shown.release()], why)),
        }
    }
    let others = others.iter().map(|(what, releases, why)| format!("{what} in {} ({why})", releases.join(", ")));
    let others: Vec<String> = others.collect();
    if others.is_empty() { Ok(()) } else { writeln!(out, "* Elsewhere: {}.", others.join("; ")) }
}

/// For each image a table.
fn write_images(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "Right: the whole true trace, and claimed if the walk claims anything. Refused: it stopped early and said so. Missing: a \
         caller is left out or replaced, and the walk does not claim to be reliable; claimed and wrong: it does. Of several images for a \
         CPU the newest is shown; `run --linux IMAGE` prints the same of any.\n"
    )?;
    let mut images: Vec<(&str, &str)> = recording.sections.iter().map(|it| (cpu(it), release(it))).collect();
    images.sort_by(|left, right| left.0.cmp(right.0).then_with(|| compare_releases(left.1, right.1)));
    images.dedup();
    let newest =
        images.iter().enumerate().filter(|(at, image)| images.get(at + 1).is_none_or(|next| next.0 != image.0));
    for (of_cpu, of_release) in newest.map(|(_, image)| *image) {
        let sections: Vec<&Section> =
            recording.sections.iter().filter(|it| (cpu(it), release(it)) == (of_cpu, of_release)).collect();
        let hash = sections.iter().map(|section| section.guest.sha256.as_str()).find(|hash| !hash.is_empty());
        writeln!(out, "## {of_cpu}: {of_release}\n")?;
        writeln!(out, "SHA-256 of the image: `{}`\n", hash.unwrap_or("unknown"))?;
        writeln!(
            out,
            "| workload | interruption | unwinder | points | right | refused | missing | claimed and wrong | crashed |"
        )?;
        writeln!(out, "|---|---|---|---:|---:|---:|---:|---:|---:|")?;
        for section in sections {
            let workload = section.scenario.rsplit('/').next().unwrap_or_default();
            let kind = section.interrupt.name();
            let reason = section.not_judged.clone().or_else(|| section.void.as_ref().map(|it| format!("void: {it}")));
            if let Some(reason) = reason {
                writeln!(out, "| {workload} | {kind} | not judged: {} | | | | | | |", reason.replace('|', "/"))?;
            }
            for column in section.columns.iter().filter(|column| section.is_whole() && column.name.starts_with("linux"))
            {
                write_column(workload, kind, column, out)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_column(workload: &str, kind: &str, column: &ColumnResult, out: &mut dyn Write) -> std::io::Result<()> {
    let counters = column.counters;
    let wrong = counters.unsound + counters.overstated;
    let claimed = if column.claims == Claims::Never { "n/a".to_owned() } else { wrong.to_string() };
    writeln!(
        out,
        "| {workload} | {kind} | `{}` | {} | {} | {} | {} | {claimed} | {} |",
        column.label(),
        counters.walks,
        counters.exact,
        counters.incomplete + counters.cautious,
        counters.wrong_flagged,
        counters.lost()
    )
}

/// Whether our models give what the kernels' own code gives.
fn write_agreements(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Our models of these walks\n")?;
    let all: Vec<_> = recording.sections.iter().flat_map(|section| &section.agreements).collect();
    let (points, differ) = all.iter().fold((0, 0), |(points, differ), it| (points + it.points, differ + it.differ));
    writeln!(
        out,
        "At {points} points of these images both a kernel's own walk and our re-implementation of it were asked; they differ at \
         {differ}. Images of other releases than 7.x are not compared: our models follow v7.3.\n"
    )?;
    for section in &recording.sections {
        for agreement in section.agreements.iter().filter(|agreement| agreement.differ > 0) {
            let point = agreement.first.as_ref().map_or("?", |first| &first.point);
            writeln!(
                out,
                "* {}: `{}` and `{}` differ at {} of {} points, first at `{point}`",
                section.title(),
                agreement.own,
                agreement.model,
                agreement.differ,
                agreement.points
            )?;
        }
    }
    Ok(())
}

fn cpu(section: &Section) -> &str {
    section.scenario.split('/').next().unwrap_or_default()
}

fn release(section: &Section) -> &str {
    section.variant.as_deref().unwrap_or_default()
}

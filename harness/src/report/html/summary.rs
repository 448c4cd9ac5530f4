//! The answer first: what ran, which gates hold, what is new; then what breaks a gate, and what has no verdicts.

use maud::{Markup, html};

use super::model::{Model, anchor, count, grouped};
use crate::analysis::novelty::Sums;
use crate::recording::{Failure, Overall, Recording, RunState, Section};

/// How many broken gates are told at once; the rest are folded.
const FIRST: usize = 20;

pub(super) fn title(model: &Model<'_>) -> String {
    format!("{}: unwind-harness", Answer::of(model.recording).title())
}

/// The answer, and how it looks.
struct Answer {
    overall: Overall,
    /// No run failed, and nothing was looked at.
    is_empty: bool,
    /// No gate is broken, and there is none.
    is_free: bool,
}

impl Answer {
    fn of(recording: &Recording) -> Self {
        let overall = recording.overall(false);
        Self {
            overall,
            is_empty: recording.nothing_judged().is_some(),
            is_free: overall == Overall::Holds && recording.demands_nothing(),
        }
    }

    fn title(&self) -> String {
        match self.overall {
            _ if self.is_empty => "Nothing was judged: no walk was made".to_owned(),
            _ if self.is_free => "Nothing is demanded of these walks".to_owned(),
            Overall::Holds => "All gates hold".to_owned(),
            Overall::Partial => "Not the whole run".to_owned(),
            Overall::Broken(1) => "1 gate is broken".to_owned(),
            Overall::Broken(number) => format!("{number} gates are broken"),
            Overall::Void(number) => count(number as u64, "run is void", "runs are void"),
            Overall::NotJudged(number) => count(number as u64, "run was not judged", "runs were not judged"),
        }
    }

    const fn class(&self) -> &'static str {
        match self.overall {
            Overall::Holds if !self.is_free => "holds",
            Overall::Holds | Overall::Partial => "partial",
            _ => "broken",
        }
    }

    const fn mark(&self) -> &'static str {
        match self.overall {
            Overall::Holds if !self.is_free => "✔",
            Overall::Holds | Overall::Partial => "◌",
            _ => "✖",
        }
    }
}

pub(super) fn head(model: &Model<'_>) -> Markup {
    let recording = model.recording;
    let overall = Answer::of(recording);
    let mut sums = Sums::default();
    for section in model.judged() {
        for column in &section.columns {
            sums = sums.plus(Sums::of(section, column));
        }
    }
    html! {
        h1 { span.tool { "unwind-harness" } " " span { "report" } }
        div.verdict.(overall.class()) {
            span.mark aria-hidden="true" { (overall.mark()) }
            div {
                p.answer { (overall.title()) }
                p.what { (what_ran(model)) }
            }
        }
        @if !recording.sections.is_empty() {
            ul.tiles {
                (tile("new", "▲", sums.new, "New", "walks that break a gate: a demand forbids them, and no [[known]] lists them"))
                (tile("known", "◆", sums.known, "Expected", "unsound walks that a [[known]] lists, with its reason"))
                (tile("exempt", "◇", sums.exempt, "Exempt", "unsound walks of unwinders of which a scenario demands nothing"))
                @if sums.unheld > 0 {
                    (tile("interrupted", "◌", sums.unheld, "Not held", "unsound walks of runs that were stopped, so that no gate was held"))
                }
                (tile("void", "⊘", recording.totals.void, "Void runs", &void_note(recording)))
                (tile("unjudged", "?", recording.totals.not_judged, "Not judged", "runs without any verdict, because a guest failed"))
            }
        }
    }
}

/// Links to the parts of the page.
pub(super) fn contents(model: &Model<'_>, has_windows: bool) -> Markup {
    html! {
        @if !model.recording.sections.is_empty() {
            nav aria-label="Parts of the page" {
                a href="#matrix" { "Soundness and completeness" }
                @if has_windows { a href="#windows" { "Transient windows" } }
                a href="#scenarios" { "Scenarios" }
                @if !model.recording.rows.is_empty() { a href="#rows" { "Rows of unwind data" } }
            }
        }
    }
}

fn void_note(recording: &Recording) -> String {
    let meant = recording.sections.iter().filter(|section| section.state() == RunState::VoidAsMeant).count();
    match recording.totals.void {
        0 => "the witnesses of the truth agree everywhere".to_owned(),
        all if all == meant as u64 => "all of them as their scenarios demand".to_owned(),
        _ => format!("{meant} of them as their scenarios demand"),
    }
}

fn tile(class: &str, mark: &str, number: u64, name: &str, note: &str) -> Markup {
    let class = if number == 0 { format!("tile {class} none") } else { format!("tile {class}") };
    html! {
        li class=(class) {
            span.number { span.mark aria-hidden="true" { (mark) } " " (grouped(number)) }
            span.name { (name) }
            span.note { (note) }
        }
    }
}

fn what_ran(model: &Model<'_>) -> String {
    let recording = model.recording;
    let names: Vec<&str> = model.cpus.iter().map(|cpu| cpu.name).collect();
    let walks: u64 = recording.totals.subjects.iter().map(|(_, counters)| counters.walks).sum();
    let scenarios = model.scenarios().count() as u64;
    let mut parts = Vec::new();
    if scenarios > 0 {
        let runs = count(recording.sections.len() as u64, "run", "runs");
        parts.push(format!("{} in {runs} on {}", count(scenarios, "scenario", "scenarios"), names.join(", ")));
        parts.push(count(recording.totals.points, "interruption point", "interruption points"));
        parts.push(count(walks, "walk", "walks"));
        parts.push(count(model.unwinders.len() as u64, "unwinder", "unwinders"));
    }
    if let Some(checked) = &recording.checked {
        parts.push(format!("rows of {}", count(recording.rows.len() as u64, "guest", "guests")));
        parts.push(count(checked.points, "point", "points"));
    }
    parts.join(" · ")
}

/// What needs attention: broken gates, and what was not judged. Last, folded, what is void as demanded.
pub(super) fn attention(model: &Model<'_>) -> Markup {
    let recording = model.recording;
    let broken: Vec<(String, Option<String>, &Failure)> = { recording.sections.iter() }
        .flat_map(|section| section.failures.iter().map(|failure| (section.title(), Some(anchor(section)), failure)))
        .collect();
    let of = |state: RunState| recording.sections.iter().filter(move |section| section.state() == state);
    let meant: Vec<&Section> = of(RunState::VoidAsMeant).collect();
    html! {
        @if let Some(partial) = &recording.partial {
            p.note.interrupted { span.mark aria-hidden="true" { "◌" } " Not the whole run: " (partial.to_string()) }
        }
        @if !broken.is_empty() || !recording.row_failures.is_empty() {
            section #gates aria-labelledby="gates-head" {
                h2 #gates-head { "Broken gates" }
                ul.failures {
                    @for (title, link, failure) in broken.iter().take(FIRST) { (gate(title, link.as_deref(), &failure.message)) }
                    @for message in &recording.row_failures { (gate("rows", None, message)) }
                }
                @if broken.len() > FIRST {
                    details {
                        summary { "and " (broken.len() - FIRST) " more" }
                        ul.failures {
                            @for (title, link, failure) in broken.iter().skip(FIRST) { (gate(title, link.as_deref(), &failure.message)) }
                        }
                    }
                }
            }
        }
        (reasons("void", "Void: no verdict of these runs is valid", of(RunState::Void).collect()))
        (reasons("unjudged", "Not judged", of(RunState::NotJudged).collect()))
        (reasons("interrupted", "Stopped before their ends: no gate was held", of(RunState::Interrupted).collect()))
        @if !recording.skipped.is_empty() {
            section.skipped {
                h2 { "Skipped" }
                ul { @for skip in &recording.skipped {
                    li.unjudged[skip.failed] { code { (skip.what) } ": " (skip.reason) }
                } }
            }
        }
        @if !meant.is_empty() {
            details.meant {
                summary { (count(meant.len() as u64, "run is", "runs are")) " void, as their scenarios demand" }
                ul { @for section in meant { (reason(section)) } }
            }
        }
    }
}

fn reasons(class: &str, head: &str, sections: Vec<&Section>) -> Markup {
    html! {
        @if !sections.is_empty() {
            section class=(class) {
                h2 { (head) }
                ul { @for section in sections { (reason(section)) } }
            }
        }
    }
}

fn reason(section: &Section) -> Markup {
    let reason = section.void.as_deref().or(section.not_judged.as_deref());
    let points = || section.state().has_verdicts().then(|| count(section.points, "point", "points"));
    html! {
        li {
            a href={ "#" (anchor(section)) } { (section.title()) }
            @if let Some(reason) = reason { ": " (reason) } @else if let Some(points) = points() { ": " (points) }
        }
    }
}

/// A broken gate: its message, whose last lines are commands that show it.
fn gate(title: &str, link: Option<&str>, message: &str) -> Markup {
    html! {
        li.failure {
            p {
                span.mark.new aria-hidden="true" { "▲" } " "
                @if let Some(link) = link { a href={ "#" (link) } { (title) } } @else { b { (title) } }
            }
            @for line in message.lines() {
                @let line = line.trim();
                @if line.starts_with("unwind-harness ") { (super::evidence::copyable(line)) } @else { p { (line) } }
            }
        }
    }
}

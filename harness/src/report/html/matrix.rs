//! The matrix: scenario by unwinder, with soundness and completeness; and the filters that narrow everything below them.

use maud::{Markup, html};

use super::model::{Cell, Cpu, Model, Scenario, anchor, percent, short, state_class, state_name, sum};
use super::strip::letter;
use crate::recording::{RunState, Section};
use crate::scenario::Interruption;

/// What the verdict filter asks of a cell: its value, and its words.
const VERDICTS: [(&str, &str); 11] = [
    ("new", "▲ new"),
    ("known", "◆ unsound, expected"),
    ("exempt", "◇ unsound, exempt"),
    ("unsound", "any unsound"),
    ("overstated", "overstated"),
    ("wrong", "wrong, but flagged"),
    ("incomplete", "stopped early"),
    ("cautious", "right, but flagged"),
    ("exact", "all exact"),
    ("void", "⊘ void run"),
    ("unjudged", "? not judged"),
];

pub(super) fn filters(model: &Model<'_>) -> Markup {
    let mut kinds: Vec<Interruption> = model.recording.sections.iter().map(|section| section.interrupt).collect();
    kinds.sort();
    kinds.dedup();
    let cpus = model.cpus.iter().map(|cpu| (cpu.name.to_owned(), cpu.name.to_owned()));
    let unwinders = model.unwinders.iter().enumerate().map(|(number, name)| (number.to_string(), (*name).to_owned()));
    let kinds = kinds.into_iter().map(|kind| (kind.name().to_owned(), kind.name().to_owned()));
    let verdicts = VERDICTS.into_iter().map(|(value, words)| (value.to_owned(), words.to_owned()));
    html! {
        form #filters.script-only aria-label="Filters" {
            (select("cpu", "CPU", "all", cpus.collect()))
            (select("unwinder", "Unwinder", "all", unwinders.collect()))
            (select("kind", "Interrupted by", "any kind", kinds.collect()))
            (select("verdict", "Verdict", "any", verdicts.collect()))
            label { span { "Scenario" } input type="search" name="name" placeholder="part of a name" autocomplete="off" spellcheck="false"; }
            button type="reset" { "Show all" }
            output #shown aria-live="polite" {}
        }
    }
}

fn select(name: &str, label: &str, all: &str, options: Vec<(String, String)>) -> Markup {
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" { (all) }
                @for (value, words) in options { option value=(value) { (words) } }
            }
        }
    }
}

pub(super) fn section(model: &Model<'_>) -> Markup {
    html! {
        section #matrix aria-labelledby="matrix-head" {
            h2 #matrix-head { "Soundness and completeness" }
            p.lead {
                "A walk is " em { "unsound" } " if it claims to be reliable and leaves out or replaces an activation: what a live patch dies of. It is "
                em { "complete" } " if it gives the whole true trace, and claims it. Each cell adds up the walks of an unwinder in a scenario."
            }
            (legend())
            @for cpu in &model.cpus {
                (table(model, cpu))
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend {
            li { span.badge.sound { "✓" } " sound" }
            li { span.badge.new { "▲ 3" } " 3 unsound or forbidden walks, new" }
            li { span.badge.known { "◆ 3" } " 3 unsound, expected ([[known]])" }
            li { span.badge.exempt { "◇ 3" } " 3 unsound, exempt (nothing is demanded)" }
            li { span.badge.na { "n/a" } " never claims: soundness means nothing" }
            li { span.badge.void { "⊘" } " void" }
            li { span.badge.unjudged { "?" } " not judged" }
            li { span.sample { (bar("known", 7, 1, 10)) } " complete from the left, unsound from the right" }
            li { "empty: no walk" }
        }
    }
}

fn table(model: &Model<'_>, cpu: &Cpu<'_>) -> Markup {
    html! {
        div.cpu data-cpu=(cpu.name) {
            h3 { (cpu.name) }
            div.scroll tabindex="0" role="region" aria-label={ "Matrix of " (cpu.name) } {
                table.matrix.grid {
                    thead { tr {
                        th scope="col" { "scenario" }
                        @for number in &cpu.unwinders {
                            th scope="col" data-u=(number) { span.letter { (letter(cpu, *number)) } " " (broken(model.unwinders[*number])) }
                        }
                    } }
                    tbody {
                        (total(model, cpu))
                        @for (place, scenario) in cpu.scenarios.iter().enumerate() {
                            (row(model, cpu, scenario, cpu.first + place))
                        }
                    }
                }
            }
        }
    }
}

/// A name with places where it may go on in the next line.
fn broken(name: &str) -> Markup {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = name;
    while let Some(at) = rest.get(1..).and_then(|tail| tail.find(['-', ':', '_'])) {
        parts.push(&rest[..=at]);
        rest = &rest[at + 1..];
    }
    html! { @for part in parts { (part) wbr; } (rest) }
}

fn total(model: &Model<'_>, cpu: &Cpu<'_>) -> Markup {
    let sections = || cpu.scenarios.iter().flat_map(|scenario| scenario.sections.iter().copied());
    let judged = || sections().filter(|section| section.state().has_verdicts());
    html! {
        tr.total {
            th scope="row" { "all of " (cpu.name) }
            @for number in &cpu.unwinders {
                (self::cell(*number, sum(judged(), model.unwinders[*number]), None))
            }
        }
    }
}

fn row(model: &Model<'_>, cpu: &Cpu<'_>, scenario: &Scenario<'_>, number: usize) -> Markup {
    let state = scenario.state();
    let name = scenario.name.split_once('/').map_or(scenario.name, |(_, name)| name);
    html! {
        tr data-s=(number) {
            th scope="row" {
                a href={ "#" (scenario.name) } { (broken(name)) }
                @if state != RunState::Judged { " " (badge(state)) }
            }
            @if scenario.sections.iter().all(|section| !section.state().has_verdicts()) {
                td.state.(state_class(state)) colspan=(cpu.unwinders.len()) { (badge(state)) " " (state_name(state)) }
            } @else {
                @for number in &cpu.unwinders {
                    (self::cell(*number, scenario.cell(model.unwinders[*number]), Some(scenario)))
                }
            }
        }
    }
}

/// The mark of a run that has no verdicts, or not all of them.
pub(super) fn badge(state: RunState) -> Markup {
    let mark = match state {
        RunState::Judged => return html! {},
        RunState::VoidAsMeant | RunState::Void => "⊘",
        RunState::Interrupted => "◌",
        RunState::NotJudged => "?",
    };
    html! { span.badge.(state_class(state)) title=(state_name(state)) { (mark) } }
}

/// The marks and numbers of a cell's soundness. The script does the same for what a filter leaves.
fn soundness(cell: &Cell) -> Markup {
    let sums = &cell.sums;
    let exempt = sums.exempt + sums.unheld;
    html! {
        @for (class, mark, number) in [("new", "▲", sums.new), ("known", "◆", sums.known), ("exempt", "◇", exempt)] {
            @if number > 0 { span.badge.(class) { (mark) " " (short(number)) } }
        }
        @if sums.new + sums.known + exempt == 0 {
            @if cell.claims { span.badge.sound { "✓" } } @else { span.badge.na { "n/a" } }
        }
    }
}

fn cell(number: usize, cell: Option<Cell>, scenario: Option<&Scenario<'_>>) -> Markup {
    let Some(cell) = cell else { return html! { td.empty data-u=(number) {} } };
    let counters = &cell.counters;
    let complete = percent(counters.exact, counters.walks);
    let body = html! {
        span.badges { (soundness(&cell)) }
        span.complete { (complete) "%" }
        (bar(worst(&cell), counters.exact, counters.unsound + counters.lost(), counters.walks))
    };
    // A run's own anchor may be narrower, but a cell is of them all.
    let link = scenario.map(|scenario| match scenario.sections.as_slice() {
        [only] => anchor(only),
        _ => scenario.name.to_owned(),
    });
    html! {
        td data-u=(number) {
            @match link {
                Some(link) => a.cell href={ "#" (link) } tabindex="-1" { (body) },
                None => span.cell { (body) },
            }
        }
    }
}

/// The class of what is unsound in a cell: what is expected does not shout.
const fn worst(cell: &Cell) -> &'static str {
    match (cell.sums.new, cell.sums.known) {
        (1.., _) => "new",
        (0, 1..) => "known",
        (0, 0) => "exempt",
    }
}

/// A bar: what is complete from the left, what is unsound from the right.
pub(super) fn bar(class: &str, exact: u64, unsound: u64, walks: u64) -> Markup {
    let style = format!("--e:{};--u:{}", percent(exact, walks), percent(unsound, walks));
    html! { span.bar.(class) style=(style) {} }
}

/// The numbers of a section's scenario and kind are by place, so that the page's data are short.
pub(super) fn state_number(section: &Section) -> usize {
    match section.state() {
        RunState::Judged => 0,
        RunState::VoidAsMeant => 1,
        RunState::Void => 2,
        RunState::NotJudged => 3,
        RunState::Interrupted => 4,
    }
}

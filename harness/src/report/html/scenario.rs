//! Each scenario, folded: its findings, its runs, and the strips of its functions.

use maud::{Markup, html};

use super::evidence;
use super::matrix::badge;
use super::model::{Cpu, Model, Scenario, anchor, count, grouped, state_name, variant_anchor};
use super::strip::{Strip, letter, strips};
use crate::recording::{RunState, Section};
use crate::report::page::points;

pub(super) fn section(model: &Model<'_>) -> Markup {
    html! {
        section #scenarios aria-labelledby="scenarios-head" {
            h2 #scenarios-head { "Scenarios" }
            p.lead {
                "Each has its findings, its runs, and its functions: every instruction as a row, every unwinder as a column. "
                span.script-only { "In a listing, the arrow keys move from cell to cell, and Enter opens what happened there. " }
                @if let Some(example) = example(model) { "Link to an instruction with " code { "#" (example) } "." }
            }
            details.alphabet {
                summary { "What the characters mean" }
                (alphabet())
            }
            @for cpu in &model.cpus {
                @for (place, scenario) in cpu.scenarios.iter().enumerate() {
                    (one(model, cpu, scenario, cpu.first + place))
                }
            }
        }
    }
}

/// A link to an instruction.
fn example(model: &Model<'_>) -> Option<String> {
    let section = model.judged().find(|section| !section.functions.is_empty())?;
    let function = section.functions.first()?;
    Some(format!("{}/{}+{:#x}", anchor(section), function.name, function.instructions.last()?.offset))
}

fn alphabet() -> Markup {
    html! {
        dl {
            div { dt { code { "=" } } dd { "exact, and claimed" } }
            div { dt { code { "~" } } dd { "exact, but flagged unreliable" } }
            div { dt { code { "3" } " " code { "(12)" } } dd { "stopped after so many frames, and said so" } }
            div { dt { code { "S T U" } } dd { "unsound: an activation is skipped, the oldest are truncated, another is substituted" } }
            div { dt { code { "I R X D" } } dd { "overstated: one is invented, one is repeated, a register is wrong, it depends on dead memory" } }
            div { dt { code { "s t u i r x d" } } dd { "the same, but flagged, or of a walk that claims nothing" } }
            div { dt { code { "#" } } dd { "crashed: the walk did not come back" } }
            div { dt { code { "%" } } dd { "timeout: it did not come back in time" } }
            div { dt { code { "." } } dd { "no walk" } }
            div { dt { code { "[=*9s]" } } dd { "by arrival: nine are exact, then one is s" } }
            div { dt { code { "\"" } } dd { "by arrival, and as the column before" } }
        }
        p {
            "The fields of a line: instructions, the first one’s disassembly, how often it ran, verdicts by start and unwinder, where any is not allowed how each "
            "stands to the demands (" code { "n" } "ew, " code { "k" } "nown, " code { "e" } "xempt), places of a displaced return address, and whether "
            "the interruption is masked there."
        }
    }
}

fn one(model: &Model<'_>, cpu: &Cpu<'_>, scenario: &Scenario<'_>, number: usize) -> Markup {
    let state = scenario.state();
    let points_of: u64 = scenario.sections.iter().map(|section| section.points).sum();
    let mut kinds: Vec<&str> = scenario.sections.iter().map(|section| section.interrupt.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let failures: usize = scenario.sections.iter().map(|section| section.failures.len()).sum();
    let new = scenario.sections.iter().flat_map(|section| &section.findings).any(|finding| finding.new > 0);
    html! {
        details.scenario id=(scenario.name) data-s=(number) {
            summary {
                span.name { (scenario.name) } " "
                @if new { span.badge.new { "▲ new" } " " }
                @if failures > 0 { span.badge.new { "✖ " (count(failures as u64, "gate", "gates")) } " " }
                @if state != RunState::Judged { (badge(state)) " " (state_name(state)) " " }
                span.where { (kinds.join(", ")) " · " (count(points_of, "point", "points")) }
            }
            (evidence::findings(scenario))
            (runs(scenario))
            @for sections in scenario.sections.chunk_by(|one, other| one.variant == other.variant) {
                (variant(model, cpu, sections))
            }
        }
    }
}

fn runs(scenario: &Scenario<'_>) -> Markup {
    let letters = scenario.sections.iter().any(|section| !section.functions.is_empty());
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Runs of " (scenario.name) } {
            table.runs {
                thead { tr { th { "run" } th { "points" } th { "never resumed" } } }
                tbody { @for section in &scenario.sections { (run(section)) } }
            }
        }
        @if !scenario.sections[0].claims.is_empty() { p.where { "Decides the claims " (scenario.sections[0].claims.join(", ")) "." } }
        @if letters { div.counts.script-only {} }
    }
}

fn run(section: &Section) -> Markup {
    let state = section.state();
    let reason = section.void.as_deref().or(section.not_judged.as_deref());
    let waiting: Vec<String> = { section.unwitnessed.iter() }
        .map(|(place, count)| if *count == 1 { place.clone() } else { format!("{place} ×{}", grouped(*count as u64)) })
        .collect();
    html! {
        tr id=(anchor(section)) {
            th scope="row" {
                @if let Some(variant) = &section.variant { (variant) " " }
                (section.interrupt.name())
                @if state != RunState::Judged { " " (badge(state)) }
            }
            @if let Some(reason) = reason {
                td colspan="2" { (state_name(state)) ": " (reason) }
            } @else {
                td {
                    (points(section))
                    @if let Some((all, folded)) = section.outer { "; nested in " (folded) " of " (all) " exceptions" }
                    @if let Some(condition) = &section.condition { "; a kernel " (condition) }
                    @for agreement in &section.agreements {
                        "; " (agreement.model) " and " (agreement.own) " differ at " (agreement.differ) " of " (agreement.points)
                    }
                }
                td { (waiting.join(", ")) }
            }
        }
    }
}

fn variant(model: &Model<'_>, cpu: &Cpu<'_>, sections: &[&Section]) -> Markup {
    // In the order of first appearance: a function need not run in every kind of interruption.
    let mut names: Vec<&str> = Vec::new();
    for function in sections.iter().flat_map(|section| &section.functions) {
        if !names.contains(&function.name.as_str()) {
            names.push(&function.name);
        }
    }
    let first = sections[0];
    let target = first.target.as_deref().unwrap_or(&first.scenario);
    // An image's variant is its release, which no option takes.
    let option = first.variant.as_deref().filter(|_| first.target.is_none());
    html! {
        div.variant data-a=(variant_anchor(first)) data-t=(target) data-v=[option] {
            @if let Some(variant) = &first.variant { h4 { (variant) } }
            @for name in names {
                @let strips = strips(model, cpu, sections, name);
                @if !strips.is_empty() {
                    div.function data-f=(name) {
                        h5 { code { (name) } }
                        @for strip in &strips { (draw(model, strip, name)) }
                    }
                }
            }
        }
    }
}

fn draw(model: &Model<'_>, strip: &Strip<'_>, name: &str) -> Markup {
    let kinds: Vec<&str> = strip.sections.iter().map(|section| section.interrupt.name()).collect();
    let columns = model.column_sets.iter().position(|set| *set == strip.columns);
    let function = strip.sections[0].functions.iter().find(|function| function.name == name);
    html! {
        div.strip data-k=(kinds.join(" ")) data-c=[columns] data-l=[function.map(|it| model.listing(it))] {
            p { b { (kinds.join(", ")) } " " (strip.head) }
            pre tabindex="0" { (strip.text) }
        }
    }
}

/// The letters of a CPU's unwinders.
pub(super) fn letters(model: &Model<'_>, cpu: &Cpu<'_>) -> String {
    let each = cpu.unwinders.iter().map(|number| format!("{} {}", letter(cpu, *number), model.unwinders[*number]));
    each.collect::<Vec<_>>().join("  ")
}

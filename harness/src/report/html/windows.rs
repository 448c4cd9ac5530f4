//! The atlas: the transient windows of each trampoline, drawn along its instructions, with all designs one under the other.

use maud::{Markup, html};

use super::model::{Cpu, Model, anchor, run_anchor};
use crate::analysis::atlas::{Interval, Row, State, rows};
use crate::analysis::elsewhere::{Elsewhere, elsewhere};
use crate::analysis::windows::{Cell, FIXES, Strip, Trampoline, trampolines};

pub(super) fn section(model: &Model<'_>) -> Markup {
    let rows = rows(model.recording);
    let trampolines = trampolines(model.recording, &rows);
    let of = |cpu: &Cpu<'_>, is_special: bool| -> Vec<&Trampoline<'_>> {
        let is_it = |it: &&Trampoline<'_>| it.cpu == cpu.name && it.hook.contains(',') == is_special;
        trampolines.iter().filter(is_it).collect()
    };
    html! {
        @if !trampolines.is_empty() {
            section #windows aria-labelledby="windows-head" {
                h2 #windows-head { "Transient windows of return hooks" }
                p.lead {
                    "A return hook puts a trampoline in the place of a return address. While the trampoline runs, the address may be nowhere that an unwinder "
                    "looks. Below are the instructions of each trampoline from left to right, and under them one row for each design: where a mark "
                    "of F0 has become " code { "=" } ", that design closes the window. F0 is Linux as it is. The last columns are other functions in which "
                    "a walk is unsound while the trampoline waits for them, or because they are hooked."
                }
                (legend())
                @for cpu in &model.cpus {
                    @let (plain, special) = (of(cpu, false), of(cpu, true));
                    @if !plain.is_empty() || !special.is_empty() {
                        div.cpu data-cpu=(cpu.name) {
                            h3 { (cpu.name) }
                            @for trampoline in plain { (draw(trampoline, &rows)) }
                            @if !special.is_empty() {
                                details.special {
                                    summary { "Special cases: " (special.len()) " more" }
                                    @for trampoline in special { (draw(trampoline, &rows)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend {
            li { span.w.wu { "!" } " unsound: claimed, and the caller is missing" }
            li { span.w.wo { "+" } " claimed, nothing missing, something false" }
            li { span.w.wn { "?" } " missing without a claim, though it could be found" }
            li { span.w.wf { "~" } " flagged or stopped" }
            li { span.w.wr { "=" } " right and claimed" }
            li { span.w.wu.only { "!" } " pale: masked there, or nobody asks from that start" }
            li { span.w.wf.lost { "~" } " underlined: no rule can find the address" }
        }
        details.fixes {
            summary { "What the designs are" }
            dl { @for (fix, what) in FIXES { div { dt { (fix) } dd { (what) } } } }
        }
    }
}

const fn mark(state: State) -> (&'static str, &'static str) {
    match state {
        State::Unsound => ("wu", "!"),
        State::Overstated => ("wo", "+"),
        State::NotClaimed => ("wn", "?"),
        State::Flagged => ("wf", "~"),
        State::Recovered => ("wr", "="),
    }
}

fn draw(trampoline: &Trampoline<'_>, rows: &[Row]) -> Markup {
    let Trampoline { cpu, hook, function, columns, strips } = trampoline;
    let others = elsewhere(trampoline, rows);
    let mut places = 0..;
    let fixes = strips.chunk_by(|one, other| one.fix == other.fix);
    html! {
        figure.windows {
            figcaption { code { (function) } " " span.where { (hook) ", " (cpu) } }
            div.scroll tabindex="0" role="region" aria-label={ "Windows of " (function) ", " (hook) ", " (cpu) } {
                table.grid.windows data-f=(function) {
                    thead { tr {
                        th scope="col" { "design" }
                        @for text in columns { th scope="col" { span { (text) } } }
                        @for (place, other) in others.iter().enumerate() {
                            th.elsewhere[place == 0] scope="col" title=(other.functions.join(", ")) { span { (name(other)) } }
                        }
                    } }
                    @for strips in fixes {
                        tbody {
                            @for strip in strips { (row(strip, &others, places.next().unwrap_or_default())) }
                        }
                    }
                }
            }
        }
    }
}

/// The functions of a column.
fn name(other: &Elsewhere<'_>) -> String {
    match other.functions.as_slice() {
        [one] => format!("in {one}"),
        several => format!("in {} other functions", several.len()),
    }
}

/// The row of a strip, which is at this place among all of the trampoline.
fn row(strip: &Strip<'_>, others: &[Elsewhere<'_>], place: usize) -> Markup {
    // The offsets, from column to column; the script needs them to link to an instruction.
    let offsets: Vec<String> =
        strip.cells.iter().map(|cell| cell.map(|cell| format!("{:x}", cell.offset)).unwrap_or_default()).collect();
    let unwinders = strip.unwinders.join(", ");
    html! {
        tr data-a=(anchor(strip.run)) data-o=(offsets.join(",")) {
            th scope="row" { b { (strip.fix) } " " span { (unwinders) } }
            @for cell in &strip.cells { (self::cell(*cell, None, false)) }
            @for (number, other) in others.iter().enumerate() {
                @match other.cells.get(place).and_then(Option::as_ref) {
                    None => (self::cell(None, None, number == 0)),
                    Some((cell, interval)) => (self::cell(Some(*cell), Some(interval), number == 0)),
                }
            }
        }
    }
}

/// A cell; of another function, with the place to which it leads where a walk is unsound. `is_first`: of other functions.
fn cell(cell: Option<Cell>, interval: Option<&Interval>, is_first: bool) -> Markup {
    let link = interval.filter(|it| it.state == State::Unsound).map(|it| {
        let run = run_anchor(&it.scenario, it.variant.as_deref(), it.interrupt);
        format!("{run}/{}+{:#x}", it.function, it.first)
    });
    html! {
        @match cell {
            None => td.elsewhere[is_first] {},
            Some(Cell { state: None, .. }) => td.w.never.elsewhere[is_first] { "·" },
            Some(Cell { state: Some(state), is_real, lost, .. }) => {
                td.w.(mark(state).0).only[!is_real].lost[lost].elsewhere[is_first] data-l=[link] { (mark(state).1) }
            }
        }
    }
}

//! Rows of unwind data, held against the truth (`check`).

use maud::{Markup, html};

use super::matrix::bar;
use super::model::{count, grouped, percent};
use crate::recording::Recording;
use crate::recording::rows::{GuestRows, Level};

/// How many wrong rows are told at once; the rest are folded.
const FIRST: usize = 100;

pub(super) fn section(recording: &Recording) -> Markup {
    let wrong = recording.checked.as_ref().map_or(&[][..], |checked| checked.findings.as_slice());
    html! {
        @if !recording.rows.is_empty() {
            section #rows aria-labelledby="rows-head" {
                h2 #rows-head { "Rows of unwind data" }
                p.lead { "At each point, the running function’s row is held against the truth. Complete: the rows lead through the whole list of callers." }
                div.scroll tabindex="0" role="region" aria-label="Rows by guest" {
                    table.matrix {
                        thead { tr { th { "guest" } th { "table" } th { "points" } th { "right" } th { "wrong" } th { "no row" } th { "not judged" } } }
                        tbody { @for guest in &recording.rows { (self::guest(guest)) } }
                    }
                }
                @if !wrong.is_empty() {
                    h3 { (count(wrong.len() as u64, "wrong row", "wrong rows")) }
                    (list(&wrong[..wrong.len().min(FIRST)]))
                    @if wrong.len() > FIRST {
                        details { summary { "and " (wrong.len() - FIRST) " more" } (list(&wrong[FIRST..])) }
                    }
                }
            }
        }
    }
}

fn guest(guest: &GuestRows) -> Markup {
    let missing = match (&guest.void, &guest.not_judged) {
        (Some(reason), _) => {
            Some(("void", if guest.void_is_meant { "⊘ void as demanded: " } else { "⊘ void: " }, reason))
        }
        (_, Some(reason)) => Some(("unjudged", "? not judged: ", reason)),
        _ => None,
    };
    html! {
        @if let Some((class, state, reason)) = missing {
            tr { th scope="row" { (guest.name) } td.state.(class) colspan="6" { (state) (reason) } }
        } @else if guest.levels.is_empty() {
            tr { th scope="row" { (guest.name) } td.state colspan="6" { (if guest.functions.is_empty() { "no table" } else { "not counted for a part" }) } }
        }
        @for (format, level) in &guest.levels { (self::level(guest, format, level)) }
    }
}

fn level(guest: &GuestRows, format: &str, level: &Level) -> Markup {
    html! {
        tr {
            th scope="row" { (guest.name) }
            td { (format) }
            td { (grouped(guest.points)) }
            td { span.complete { (percent(level.innermost_right, guest.points)) "%" } (bar("known", level.innermost_right, level.wrong, guest.points)) }
            td { @if level.wrong > 0 { span.badge.known { "✖ " (grouped(level.wrong)) } } @else { span.badge.sound { "✓" } } }
            td { (grouped(level.no_row)) }
            td { @if level.not_judged > 0 { span.badge.unjudged { "? " (grouped(level.not_judged)) } } @else { "0" } }
        }
    }
}

fn list(wrong: &[crate::recording::rows::WrongRow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Wrong rows" {
            table {
                thead { tr { th { "where" } th { "table" } th { "part" } th { "what it gives, and what it should" } } }
                tbody { @for row in wrong { tr {
                    td { code { (row.guest) " " (row.function) "+" (format!("{:#x}", row.offset)) } }
                    td { (row.table) } td { (row.part.name()) } td { (row.detail) }
                } } }
            }
        }
    }
}

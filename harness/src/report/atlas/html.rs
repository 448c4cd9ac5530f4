//! The atlas as one self-contained page: the table, the intervals of each row, and the listing of each section.

use std::collections::BTreeSet;
use std::io::Write;

use crate::analysis::atlas::{Row, State};
use crate::recording::Recording;
use crate::report::page;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em;max-width:120em}table{border-collapse:collapse}\
th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}th{position:sticky;top:0;background:#fff}\
.name{text-align:left}.bad{color:#b00020;font-weight:bold}.good{color:#1b6e2c}.dim{color:#777}\
code,pre{font:12px ui-monospace,monospace}pre{overflow-x:auto;background:#f6f6f6;padding:1em}details{margin:.3em 0}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}th{background:#181818}pre{background:#222}\
.bad{color:#ff6b7a}.good{color:#7bd88f}}";

/// A link to a folded element unfolds it.
const SCRIPT: &str = "function unfold(){const it=document.getElementById(location.hash.slice(1));\
if(it){it.open=true;it.scrollIntoView()}}addEventListener('hashchange',unfold);addEventListener('load',unfold);";

/// Writes the page.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Hooked return addresses</title>"
    )?;
    writeln!(out, "<style>{STYLE}</style>\n<h1>Hooked return addresses</h1>")?;
    writeln!(
        out,
        "<p>One row for each CPU, return hook, fix and unwinder. A point is a walk from an interruption at which a return address \
         is displaced, or a trampoline runs. Unrecoverable: no place is left that a rule may trust. Reachable: the interruption is not masked there. Callable: \
         Linux asks for a trace from that start; a walk from any other start is a question about the algorithm. Instructions are \
         distinct ones of the guests, which mimic the kernel's code by hand.</p>"
    )?;
    if let Some(partial) = &recording.partial {
        writeln!(out, "<p class=\"bad\">{}</p>", escape(&partial.to_string()))?;
    }
    for (run, reason) in recording.not_judged() {
        writeln!(out, "<p class=\"bad\">Not judged: {}: {}</p>", escape(&run), escape(reason))?;
    }
    write!(out, "<table>\n<tr>")?;
    for head in Row::NAMES {
        write!(out, "<th class=\"name\">{head}</th>")?;
    }
    for head in Row::COUNTERS {
        write!(out, "<th>{head}</th>")?;
    }
    writeln!(out, "</tr>")?;
    for (index, row) in rows.iter().enumerate() {
        write_row(row, index, out)?;
    }
    writeln!(out, "</table>")?;
    for (index, row) in rows.iter().enumerate() {
        write_intervals(row, index, out)?;
    }
    write_listings(recording, out)?;
    writeln!(out, "<script>{SCRIPT}</script>\n</html>")
}

fn write_row(row: &Row, index: usize, out: &mut dyn Write) -> std::io::Result<()> {
    write!(out, "<tr>")?;
    for (head, name) in Row::NAMES.into_iter().zip(row.names()) {
        let name = escape(name);
        let name = if head == "unwinder" { format!("<a href=\"#row{index}\">{name}</a>") } else { name };
        write!(out, "<td class=\"name\">{name}</td>")?;
    }
    for (head, count) in Row::COUNTERS.into_iter().zip(row.counters()) {
        let class = match head {
            "unsound" | "reachable" | "callable" | "instructions" | "callable instructions" if count > 0 => {
                " class=\"bad\""
            }
            "unsound" | "reachable" | "callable" | "instructions" | "callable instructions" => " class=\"good\"",
            _ => "",
        };
        write!(out, "<td{class}>{count}</td>")?;
    }
    writeln!(out, "</tr>")
}

fn write_intervals(row: &Row, index: usize, out: &mut dyn Write) -> std::io::Result<()> {
    let title = row.names().join(" ");
    writeln!(out, "<details id=\"row{index}\"><summary>{}</summary>\n<table>", escape(&title))?;
    writeln!(
        out,
        "<tr><th class=\"name\">state</th><th class=\"name\">where</th><th class=\"name\">interrupted by</th><th>walks</th>\
         <th class=\"name\">address</th><th class=\"name\">command</th></tr>"
    )?;
    for interval in &row.intervals {
        let class = if interval.state == State::Unsound { "bad" } else { "dim" };
        let places = if interval.places.is_empty() { "in its place" } else { &interval.places };
        let masked = if interval.reachable { "" } else { " (masked)" };
        let asked = if interval.callable { "" } else { " (hypothetical start)" };
        writeln!(
            out,
            "<tr><td class=\"name {class}\">{}</td><td class=\"name\"><a href=\"#{}\"><code>{}</code></a></td>\
             <td class=\"name\">{}@{}{masked}{asked}</td><td>{}</td><td class=\"name\">{}</td>\
             <td class=\"name\"><code>{}</code></td></tr>",
            interval.state.name(),
            anchor(&interval.scenario, interval.variant.as_deref(), interval.interrupt.name()),
            escape(&interval.range()),
            interval.interrupt.name(),
            interval.start.name(),
            interval.walks,
            escape(places),
            escape(&interval.command(&row.unwinder))
        )?;
    }
    writeln!(out, "</table></details>")
}

fn write_listings(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "<h2>Listings</h2>")?;
    let mut seen = BTreeSet::new();
    for section in recording.sections.iter().filter(|section| section.return_hook.is_some()) {
        let anchor = anchor(&section.scenario, section.variant.as_deref(), section.interrupt.name());
        if !seen.insert(anchor.clone()) {
            continue;
        }
        let mut listing = Vec::new();
        page::write(section, &mut listing)?;
        let listing = String::from_utf8_lossy(&listing);
        writeln!(out, "<details id=\"{anchor}\"><summary>{}</summary>\n<pre>", escape(&section.title()))?;
        writeln!(out, "{}</pre></details>", escape(&listing))?;
    }
    Ok(())
}

/// The name of a section's listing in the page.
fn anchor(scenario: &str, variant: Option<&str>, interrupt: &str) -> String {
    let name = format!("{scenario}-{}-{interrupt}", variant.unwrap_or_default());
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

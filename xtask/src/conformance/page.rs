//! The table, for people: a function of the document for programs.

use std::fmt::Write as _;

use serde_json::Value;

use super::class;
use super::found::Counts;
use crate::marks;

/// Between these two lines of docs/conformance.md is what this writes; the rest is written by hand.
const MARKS: [&str; 2] = [
    "<!-- written by `cargo xtask conformance` from docs/data/conformance.json -->\n",
    "<!-- end of what `cargo xtask conformance` writes -->\n",
];

/// The page with what is generated replaced.
pub(super) fn replaced(page: &str, generated: &str) -> Result<String, String> {
    marks::replaced("docs/conformance.md", page, MARKS, generated)
}

/// The generated part.
pub(super) fn markdown(document: &Value) -> String {
    let mut text = String::new();
    write_total(document, &mut text);
    write_classes(document, &mut text);
    write_versions(document, &mut text);
    write_examples(document, &mut text);
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn rows(document: &Value) -> &[Value] {
    list(&document["rows"])
}

/// Those that say what the data give. They are no rows of the tables: the first is right by definition where the data give the chain, and
/// the second reads CFI by the first, so that it is no second witness.
const CONTROLS: [&str; 2] = ["gimli", "dwarf"];

fn is_control(row: &Value) -> bool {
    CONTROLS.contains(&text(&row["unwinder"]))
}

/// Of a total, to a tenth, never rounded up to all.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = part * 1000 / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn number(counts: &Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap_or_default()
}

fn write_total(document: &Value, out: &mut String) {
    let heads = [
        "points",
        "data",
        "whole chain",
        "caller",
        "claimed, wrong",
        "unclaimed, wrong",
        "stopped early",
        "lost",
        "better",
        "misled",
    ];
    let _ = writeln!(out, "\n## All points\n\n| unwinder | CPU | {} | worst class |", heads.join(" | "));
    let _ = writeln!(out, "|---|---|{}---|", "---:|".repeat(heads.len()));
    for row in rows(document).iter().filter(|row| !is_control(row)) {
        let (name, cpu, all) = (text(&row["unwinder"]), text(&row["cpu"]), &row["all"]);
        let _ = if all.is_null() {
            let reason = text(&row["not"]).replace('|', "/");
            writeln!(out, "| {name} | {cpu} | **not run**: {reason} |{}", " |".repeat(heads.len()))
        } else {
            let data = number(all, "data");
            let cells = Counts::NAMES.map(|name| match (number(all, name), name) {
                (part, "right") => format!("{part} ({})", percent(part, data)),
                (part, _) => part.to_string(),
            });
            writeln!(out, "| {name} | {cpu} | {} | {} |", cells.join(" | "), worst(row))
        };
    }
    write_controls(document, out);
    let mut last = "";
    for row in rows(document).iter().filter(|row| !list(&row["not_applicable"]).is_empty()) {
        let name = text(&row["unwinder"]);
        for of in list(&row["not_applicable"]).iter().filter(|_| name != last) {
            let _ = writeln!(out, "\n**Not applicable** to {name}: {}, because {}.", text(&of[0]), text(&of[1]));
        }
        last = name;
    }
    for reason in list(&document["missing"]).iter().map(text) {
        let _ = writeln!(out, "\n**Not in the set**, because it could not be built: {reason}");
    }
}

/// What the controls come to, which is no result.
fn write_controls(document: &Value, out: &mut String) {
    for name in CONTROLS {
        let own = rows(document).iter().filter(|row| text(&row["unwinder"]) == name && !row["all"].is_null());
        let shares: Vec<String> = own
            .map(|row| {
                format!("{}/{} on {}", number(&row["all"], "right"), number(&row["all"], "data"), text(&row["cpu"]))
            })
            .collect();
        if !shares.is_empty() {
            let _ = writeln!(out, "\n**Control**, and no row: {name} has the whole chain at {}.", shares.join(", "));
        }
    }
}

/// The class with the smallest share of right chains.
fn worst(row: &Value) -> String {
    let shares = class::ALL.iter().filter_map(|class| {
        let counts = &row["classes"][*class];
        let (right, data) = (number(counts, "right"), number(counts, "data"));
        (data > 0).then_some((right, data, *class))
    });
    // By cross-multiplication, so that equal shares are equal.
    let least = shares.min_by(|left, right| (left.0 * right.1).cmp(&(right.0 * left.1)));
    match least {
        Some((right, data, _)) if right == data => "all right".to_owned(),
        Some((right, data, class)) => format!("{class}: {}", percent(right, data)),
        None => "-".to_owned(),
    }
}

/// The sets, which stand beside the classes.
const SETS: [&str; 2] = ["guests", "libc"];

fn write_classes(document: &Value, out: &mut String) {
    let heads: Vec<&str> = class::ALL.iter().chain(&SETS).copied().collect();
    let _ = writeln!(
        out,
        "\n## By class\n\nThe whole chain is right, of the points at which the data give it; a blank: no such point.\n\n\
         | unwinder | CPU | {} |\n|---|---|{}",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    for row in rows(document).iter().filter(|row| !row["all"].is_null() && !is_control(row)) {
        let cell = |class: &&str| {
            let counts = &row["classes"][*class];
            match (number(counts, "right"), number(counts, "data")) {
                (_, 0) => String::new(),
                (right, data) => format!("{right}/{data}"),
            }
        };
        let cells: Vec<String> = heads.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} | {} |", text(&row["unwinder"]), text(&row["cpu"]), cells.join(" | "));
    }
}

fn write_versions(document: &Value, out: &mut String) {
    let _ = writeln!(out, "\n## Versions\n\n| unwinder | version | licence | how it is driven |\n|---|---|---|---|");
    let mut last = "";
    for row in rows(document) {
        let name = text(&row["unwinder"]);
        if name != last && !text(&row["version"]).is_empty() {
            let cell = |key: &str| text(&row[key]).to_owned();
            let _ = writeln!(out, "| {name} | {} | {} | {} |", cell("version"), cell("licence"), cell("how"));
            last = name;
        }
    }
}

fn write_examples(document: &Value, out: &mut String) {
    *out += "\n## Places\n\nThe first places of each at which it is wrong though the data are right. A `!` or `+` was claimed, a `?` was not; \
             `#` and `%` are lost walks.\n";
    for row in rows(document).iter().filter(|row| !list(&row["places"]).is_empty()) {
        let _ = writeln!(out, "\n{} on {}:\n", text(&row["unwinder"]), text(&row["cpu"]));
        for place in list(&row["places"]) {
            let cell = |key: &str| text(&place[key]).to_owned();
            let _ = writeln!(out, "* {}: true is {}; it said {}", cell("point"), cell("true"), cell("said"));
        }
    }
    for row in rows(document) {
        for reason in list(&row["void"]).iter().map(text) {
            let _ = writeln!(out, "\n{} on {}: **not judged**: {reason}", text(&row["unwinder"]), text(&row["cpu"]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    fn read(path: &str) -> String {
        std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn the_page_is_what_the_document_says() {
        let document: Value = serde_json::from_str(&read("docs/data/conformance.json")).expect("JSON");
        let page = read("docs/conformance.md");
        let expected = replaced(&page, &markdown(&document)).expect("the marks");
        assert!(
            page == expected,
            "run `cargo xtask conformance --page`: docs/conformance.md is not what docs/data/conformance.json says"
        );
        let ran = rows(&document).iter().filter(|row| !row["all"].is_null()).map(|row| text(&row["unwinder"]));
        let ran: std::collections::BTreeSet<&str> = ran.collect();
        assert!(ran.len() >= 8, "{ran:?}");
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        assert_eq!(percent(9999, 10000), "99.9 %");
        assert_eq!(percent(3, 3), "100.0 %");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn the_worst_class_and_what_was_not_run_are_told() {
        let document = serde_json::json!({ "rows": [
            { "unwinder": "x", "cpu": "arm64", "all": { "points": 4, "data": 4, "right": 3 },
              "classes": { "leaf": { "data": 2, "right": 2 }, "body": { "data": 2, "right": 1 } } },
            { "unwinder": "y", "cpu": "arm64", "all": null, "not": "no package" },
            { "unwinder": "gimli", "cpu": "arm64", "all": { "points": 4, "data": 3, "right": 3 } },
        ] });
        let text = markdown(&document);
        assert!(text.contains("| 3 (75.0 %) |") && text.contains("| body: 50.0 % |"), "{text}");
        assert!(text.contains("| y | arm64 | **not run**: no package |"), "{text}");
        assert!(
            !text.contains("| gimli | arm64 ") && text.contains("gimli has the whole chain at 3/3 on arm64."),
            "{text}"
        );
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("a\n{}old\n{}b\n", MARKS[0], MARKS[1]);
        assert_eq!(replaced(&page, "new\n"), Ok(format!("a\n{}new\n{}b\n", MARKS[0], MARKS[1])));
        assert!(replaced("a\n", "new\n").is_err());
    }
}

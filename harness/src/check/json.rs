//! The machine-readable form: schema 1, described in docs/check.md.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::{Agreement, Function, Guest, Leaf, Part, Report, TableResult};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    guests: Vec<JsonGuest<'a>>,
    broken: &'a [String],
}

#[derive(Serialize)]
struct JsonGuest<'a> {
    name: &'a str,
    scenario: &'a str,
    void: Option<&'a str>,
    functions: Vec<JsonFunction<'a>>,
}

#[derive(Serialize)]
struct JsonFunction<'a> {
    name: &'a str,
    points: u64,
    instructions: usize,
    ran: usize,
    agree: Option<bool>,
    first_difference: Option<u64>,
    tables: BTreeMap<&'a str, JsonTable<'a>>,
}

#[derive(Serialize)]
struct JsonTable<'a> {
    covered: usize,
    cfa: JsonPart,
    ra: JsonPart,
    fp: JsonPart,
    leaf: Option<&'a str>,
    wrong: Vec<JsonWrong<'a>>,
}

#[derive(Serialize)]
struct JsonPart {
    judged: usize,
    right: usize,
}

#[derive(Serialize)]
struct JsonWrong<'a> {
    at: String,
    part: &'a str,
    detail: &'a str,
}

/// Writes the report, with a newline at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let document = Document { schema: 1, guests: report.guests.iter().map(guest).collect(), broken: &report.broken };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn guest(guest: &Guest) -> JsonGuest<'_> {
    JsonGuest {
        name: &guest.name,
        scenario: &guest.scenario,
        void: guest.void.as_deref(),
        functions: guest.functions.iter().map(function).collect(),
    }
}

fn function(function: &Function) -> JsonFunction<'_> {
    let (agree, first_difference) = match function.agreement {
        Agreement::None => (None, None),
        Agreement::Same => (Some(true), None),
        Agreement::Differ(offset) => (Some(false), Some(offset)),
    };
    JsonFunction {
        name: &function.name,
        points: function.points,
        instructions: function.instructions,
        ran: function.ran,
        agree,
        first_difference,
        tables: function.tables.iter().map(|result| (result.format.name(), table(function, result))).collect(),
    }
}

fn table<'a>(function: &Function, result: &'a TableResult) -> JsonTable<'a> {
    let part = |part: Part| {
        let result = result.parts[part as usize];
        JsonPart { judged: result.judged, right: result.right }
    };
    let wrong = result.wrong.iter().map(|wrong| JsonWrong {
        at: format!("{}+{:#x}", function.name, wrong.offset),
        part: wrong.part.name(),
        detail: &wrong.detail,
    });
    JsonTable {
        covered: result.covered,
        cfa: part(Part::Cfa),
        ra: part(Part::Ra),
        fp: part(Part::Fp),
        leaf: (result.leaf != Leaf::NotClaimed).then(|| result.leaf.name()),
        wrong: wrong.collect(),
    }
}

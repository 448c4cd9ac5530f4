//! JSON lines: a header, the modules, then a line for each point.

use std::collections::BTreeMap;

use serde_json::json;

use super::{ExportedPoint, Origin};
use crate::subject::remote;

/// The version of the form.
const FORMAT: u32 = 1;

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

/// The lines before the points of a run. The contents of unwind sections are in the modules.
#[must_use]
pub fn header(origin: Origin<'_>) -> Vec<String> {
    let cpu = origin.program.guest.cpu;
    let tool = env!("CARGO_PKG_VERSION");
    let head = json!({ "t": "run", "format": FORMAT, "tool": tool, "run": origin.title, "cpu": cpu.name });
    let needs = ["eh_frame", "debug_frame", "sframe"].map(str::to_owned);
    std::iter::once(head.to_string()).chain(remote::modules(origin.program, &needs)).collect()
}

/// A point.
#[must_use]
pub fn point(origin: Origin<'_>, point: &ExportedPoint) -> String {
    let abi = origin.program.guest.cpu.abi;
    let regs: BTreeMap<&str, String> =
        point.regs.iter().map(|(register, value)| (abi.register_name(register), hex(value))).collect();
    let truth: Vec<_> = { point.truth.iter() }
        .map(|(pc, cfa, name)| json!({ "pc": hex(*pc), "cfa": hex(*cfa), "name": name }))
        .collect();
    let (sp, bytes) = &point.stack;
    json!({
        "t": "point", "name": point.name, "start": point.start.name(), "pc": hex(point.pc), "regs": regs,
        "memory": [{ "addr": hex(*sp), "data": remote::digits(bytes) }], "cut": point.cut, "truth": truth,
    })
    .to_string()
}

//! What a report says of an unwinder, point by point beside the evaluator of CFI.

use std::collections::BTreeMap;

use serde_json::Value;

use super::class;

/// Walks, counted. What the data give is what a plain evaluator of the same CFI makes of them, its registers included: who follows a
/// wrong register is not to blame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All.
    pub(super) points: u64,
    /// Those at which the data give the whole chain. The next five add up to it.
    pub(super) data: u64,
    /// The whole chain is right.
    pub(super) right: u64,
    /// Claimed to be complete, and wrong.
    pub(super) claimed: u64,
    /// Wrong, without a claim.
    pub(super) unclaimed: u64,
    /// Right as far as it goes, and it says that it has stopped early.
    pub(super) stopped: u64,
    /// Crashed or timed out.
    pub(super) lost: u64,
    /// The caller is right, whatever follows; of `data`.
    pub(super) caller: u64,
    /// The data do not give the whole chain, and the unwinder has it.
    pub(super) better: u64,
    /// The data do not give the whole chain, and the unwinder claims what is wrong.
    pub(super) misled: u64,
}

impl Counts {
    /// The names of the numbers in documents.
    pub(super) const NAMES: [&str; 10] =
        ["points", "data", "right", "caller", "claimed", "unclaimed", "stopped", "lost", "better", "misled"];

    /// In the order of the names.
    pub(super) fn numbers(&self) -> [u64; 10] {
        let Self { points, data, right, caller, claimed, unclaimed, stopped, lost, better, misled } = *self;
        [points, data, right, caller, claimed, unclaimed, stopped, lost, better, misled]
    }

    fn add(&mut self, verdict: &str, data: &str, has_caller: bool) {
        self.points += 1;
        let is_claimed = verdict.starts_with(['!', '+']);
        if !matches!(data, "=" | "~") {
            self.better += u64::from(is_right(verdict));
            self.misled += u64::from(is_claimed && !is_right(verdict));
            return;
        }
        self.data += 1;
        self.caller += u64::from(has_caller);
        let count = match verdict {
            _ if is_right(verdict) => &mut self.right,
            "#" | "%" => &mut self.lost,
            _ if verdict.starts_with('<') => &mut self.stopped,
            _ if is_claimed => &mut self.claimed,
            _ => &mut self.unclaimed,
        };
        *count += 1;
    }
}

/// Whether the pcs of a whole chain are right. Registers are left out: not every unwinder gives them.
fn is_right(verdict: &str) -> bool {
    matches!(verdict, "=" | "~" | "+state" | "?state")
}

/// Of one unwinder on one CPU.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) all: Counts,
    pub(super) classes: BTreeMap<&'static str, Counts>,
    /// Places at which it is wrong though the data are right, the first of each verdict: point, truth, what was said.
    pub(super) defects: Vec<(String, String, String)>,
    /// What of the set was not judged, and why.
    pub(super) void: Vec<String>,
}

impl Found {
    pub(super) const fn points(&self) -> u64 {
        self.all.points
    }
}

/// The column of the plain evaluator.
pub(super) const CONTROL: &str = "gimli";

/// How many defects are kept.
const DEFECTS: usize = 6;

/// Adds a JSON report. `name` is the unwinder's column.
pub(super) fn add_report(text: &str, name: &str, found: &mut Found) -> Result<(), String> {
    let report: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for section in list(&report["scenarios"]) {
        let scenario = section["name"].as_str().unwrap_or_default();
        if let Some(reason) = section["not_judged"].as_str() {
            found.void.push(format!("{scenario}: {reason}"));
            continue;
        }
        if let Some(reason) = section["void"].as_str() {
            found.void.push(format!("{scenario}: {reason}"));
            continue; // it has no verdicts
        }
        let column = |name: &str| list(&section["columns"]).iter().position(|column| column["name"] == name);
        let (Some(own), Some(data)) = (column(name), column(CONTROL)) else { continue };
        for function in list(&section["functions"]) {
            add_function(section, scenario, function, (own, data, name), found);
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn add_function(section: &Value, scenario: &str, function: &Value, of: (usize, usize, &str), found: &mut Found) {
    let (own, data, name) = of;
    let instructions = list(&function["instructions"]);
    let texts: Vec<&str> = instructions.iter().map(|one| one["text"].as_str().unwrap_or_default()).collect();
    let of_function = function["name"].as_str().unwrap_or_default();
    let classes = class::of(scenario, of_function, &texts);
    let set = if scenario.ends_with("/libc") { "libc" } else { "guests" };
    for (instruction, class) in instructions.iter().zip(classes) {
        let verdicts = |column: usize| arrivals(instruction["runs"][column].as_str().unwrap_or_default());
        let of_data = verdicts(data);
        for (arrival, verdict) in verdicts(own) {
            let Some(of_data) = of_data.get(&arrival) else { continue };
            let place = (of_function, instruction["offset"].as_u64().unwrap_or(0));
            let evidence = evidence(section, name, &verdict, place);
            let first = |key: &str| evidence.and_then(|finding| list(&finding["first"][key]).first().cloned());
            let stopped = verdict.strip_prefix('<').and_then(|count| count.parse::<u64>().ok());
            let has_caller = is_right(&verdict)
                || stopped.is_some_and(|count| count > 0)
                || (stopped.is_none() && first("got").is_some() && first("got") == first("expected"));
            found.all.add(&verdict, of_data, has_caller);
            for of in [class, set] {
                found.classes.entry(of).or_default().add(&verdict, of_data, has_caller);
            }
            let is_fault = verdict.starts_with(['!', '+', '?', '#', '%'])
                && !is_right(&verdict)
                && matches!(of_data.as_str(), "=" | "~");
            if is_fault && found.defects.len() < DEFECTS {
                note(section, evidence, &mut found.defects);
            }
        }
    }
}

/// The finding that stands for a verdict at an instruction.
fn evidence<'r>(section: &'r Value, name: &str, verdict: &str, place: (&str, u64)) -> Option<&'r Value> {
    let (function, offset) = place;
    list(&section["findings"]).iter().find(|finding| {
        let range = finding["range"].as_str().unwrap_or_default();
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let offset_of = |text: &str| {
            let (name, offset) = text.rsplit_once('+')?;
            (name == function).then_some(u64::from_str_radix(offset.trim_start_matches("0x"), 16).ok()?)
        };
        let is_here =
            offset_of(first).zip(offset_of(last)).is_some_and(|(first, last)| (first..=last).contains(&offset));
        is_here && finding["subject"] == name && finding["verdict"] == verdict
    })
}

fn note(section: &Value, evidence: Option<&Value>, defects: &mut Vec<(String, String, String)>) {
    let Some(finding) = evidence else { return };
    let chain = |key: &str| {
        let names: Vec<&str> = list(&finding["first"][key]).iter().filter_map(Value::as_str).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" < ") }
    };
    let variant = section["variant"].as_str().map_or(String::new(), |variant| format!(" [{variant}]"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let point = format!(
        "{}{variant} `{}`, {}",
        text(&section["name"]),
        text(&finding["first"]["point"]),
        text(&finding["verdict"])
    );
    if defects.iter().all(|(other, ..)| *other != point) {
        defects.push((point, chain("expected"), chain("got")));
    }
}

/// The verdict on each arrival, of `=@1-4 !skipped@5m`.
fn arrivals(text: &str) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for run in text.split_whitespace() {
        let Some((verdict, range)) = run.split_once('@') else { continue };
        let range = range.trim_end_matches('m');
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { continue };
        found.extend((first..=last).map(|arrival| (arrival, verdict.to_owned())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Found, add_report, arrivals};

    #[test]
    fn runs_are_arrivals() {
        let found = arrivals("=@1-2 !skipped@3m");
        assert_eq!(
            found.into_iter().map(|(at, verdict)| format!("{at}{verdict}")).collect::<Vec<_>>(),
            ["1=", "2=", "3!skipped"]
        );
    }

    #[test]
    fn wrong_data_and_a_wrong_unwinder_are_told_apart() {
        let report = r#"{"scenarios":[{"name":"arm64/leaf","void":null,"columns":[{"name":"gimli"},{"name":"x"}],
            "findings":[{"subject":"x","verdict":"!skipped","range":"f+0x0..f+0x4","first":{"point":"f+0x0#1","expected":["a"],"got":["b"]}}],
            "functions":[{"name":"f","instructions":[{"offset":0,"text":"bl g","runs":["=@1 !skipped@2","!skipped@1-2"]}]}]}]}"#;
        let mut found = Found::default();
        add_report(report, "x", &mut found).expect("a report");
        let all = found.all;
        assert_eq!((all.points, all.data, all.right, all.claimed, all.misled, all.caller), (2, 1, 0, 1, 1, 0));
        assert_eq!(found.defects.len(), 1);
    }
}

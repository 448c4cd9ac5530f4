//! Whether the page says what the Recording says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use unwind_harness::recording::{Novelty, Recording, Section};
use unwind_harness::scenario::Interruption;
use unwind_harness::subject::label;
use unwind_harness::verdict::Verdict;

use super::{browser, page, whole};
use crate::whole_run::report;

fn sections(scenario: &str) -> Vec<&'static Section> {
    report().sections.iter().filter(|section| section.scenario == scenario).collect()
}

/// A page of this recording, in a folder of its own.
fn written(recording: &Recording) -> (std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.html");
    std::fs::write(&path, page(recording)).expect("the page is written");
    (path, folder)
}

/// A recording of a few scenarios.
fn some(scenarios: &[&str]) -> Recording {
    Recording::new(scenarios.iter().flat_map(|name| sections(name)).cloned().collect())
}

/// Sets a filter, as a user does.
fn set(name: &str, value: &str) -> String {
    format!(
        "(() => {{
            const field = document.forms.filters.elements['{name}'];
            field.value = {value:?};
            field.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }})()"
    )
}

const SHOWN: &str = "[...document.querySelectorAll('.matrix tr[data-s]')].filter((row) => row.checkVisibility())
    .map((row) => row.querySelector('a').getAttribute('href').slice(1))";

#[test]
fn filters_narrow_everything_and_count_anew() {
    let Some(mut browser) = browser("html::filters_narrow_everything_and_count_anew") else { return };
    browser.open(&whole(), "", 1400);
    let all = browser.eval(SHOWN).as_array().map_or(0, Vec::len);
    let mut names: Vec<&str> = report().sections.iter().map(|section| section.scenario.as_str()).collect();
    names.dedup();
    assert_eq!(all, names.len());
    browser.eval(&set("cpu", "riscv64"));
    let shown: Vec<String> = serde_json::from_value(browser.eval(SHOWN)).expect("names");
    let expected: Vec<&str> = names.iter().copied().filter(|name| name.starts_with("riscv64/")).collect();
    assert_eq!(shown, expected);
    assert_eq!(
        browser
            .eval("[...document.querySelectorAll('#windows [data-cpu]')].filter((it) => it.checkVisibility()).length"),
        1
    );
    // A kind: the cells hold the walks of that kind alone.
    browser.eval("document.forms.filters.querySelector('[type=reset]').click(); new Promise(done => setTimeout(done))");
    browser.eval(&set("kind", "nmi"));
    let of_kind: Vec<&Section> = { report().sections.iter() }
        .filter(|section| section.interrupt == Interruption::Nmi && section.scenario == "arm64/fgraph")
        .collect();
    let mut exact: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for column in of_kind.iter().flat_map(|section| &section.columns) {
        let sum = exact.entry(&column.name).or_default();
        *sum = (sum.0 + column.counters.exact, sum.1 + column.counters.walks);
    }
    let cells = browser.eval(
        "(() => {
            const data = JSON.parse(document.getElementById('data').textContent);
            const row = document.querySelector('.matrix a[href=\"#arm64/fgraph\"]').closest('tr');
            return Object.fromEntries([...row.querySelectorAll('td[data-u]')].filter((cell) => cell.firstElementChild?.checkVisibility())
                .map((cell) => [data.unwinders[cell.dataset.u], cell.querySelector('.complete').textContent]));
        })()",
    );
    let percent = |(exact, walks): (u64, u64)| match exact {
        0 => 0,
        _ if exact == walks => 100,
        _ => (exact * 100 / walks).clamp(1, 99),
    };
    let expected: BTreeMap<&str, String> =
        exact.into_iter().map(|(name, counts)| (name, format!("{}%", percent(counts)))).collect();
    assert_eq!(cells, json!(expected));
    assert!(!browser.eval(SHOWN).as_array().expect("a list").iter().any(|name| name == "arm64/leaf"), "it has no NMI");
    // An unwinder: the other columns go, and the scenarios in which it does not walk.
    browser.eval("document.forms.filters.querySelector('[type=reset]').click(); new Promise(done => setTimeout(done))");
    let number = browser.eval("[...document.forms.filters.unwinder.options].find((it) => it.text === 'x86-orc').value");
    browser.eval(&set("unwinder", number.as_str().expect("a number")));
    let shown: Vec<String> = serde_json::from_value(browser.eval(SHOWN)).expect("names");
    assert!(!shown.is_empty() && shown.iter().all(|name| name.starts_with("x86_64/")), "{shown:?}");
    // A verdict: only scenarios in which an unwinder has it.
    browser.eval("document.forms.filters.querySelector('[type=reset]').click(); new Promise(done => setTimeout(done))");
    browser.eval(&set("verdict", "new"));
    assert_eq!(browser.eval(SHOWN), json!([]), "all gates hold");
    browser.eval(&set("verdict", "void"));
    let mut void: Vec<&str> =
        { report().sections.iter() }.filter(|section| section.void.is_some()).map(|it| it.scenario.as_str()).collect();
    void.dedup();
    assert_eq!(browser.eval(SHOWN), json!(void));
    let said = browser.eval("document.getElementById('shown').textContent");
    assert_eq!(said, format!("{} of {all} scenarios shown", void.len()));
}

/// The verdicts of each cell of a scenario's listings, by run, place and column: a character for each arrival.
const CELLS: &str = "(async (name) => {
    const data = JSON.parse(document.getElementById('data').textContent);
    const fold = document.getElementById(name);
    fold.open = true;
    const found = {};
    for (const strip of fold.querySelectorAll('.strip')) {
        for (let tries = 0; tries < 100 && !strip.querySelector('table'); tries += 1) {
            strip.scrollIntoView();
            await new Promise(done => setTimeout(done, 20));
        }
        const columns = data.columns[strip.dataset.c];
        for (const row of strip.querySelectorAll('tbody tr')) for (const cell of row.querySelectorAll('td[data-c]')) {
            const [unwinder, start] = columns[cell.dataset.c];
            const label = data.unwinders[unwinder] + (start > 0 ? '@' + data.starts[start] : '');
            const text = row.line.cells[cell.dataset.c].map(([symbol, count]) => symbol + '*' + count).join(' ');
            for (const kind of strip.dataset.k.split(' ')) {
                found[`${strip.closest('.variant').dataset.a}/${kind}/${row.dataset.p} ${label}`] = text;
            }
        }
    }
    return found;
})";

/// The character of a verdict.
fn symbol(verdict: Option<Verdict>) -> String {
    let text = verdict.map_or(".".to_owned(), |verdict| verdict.to_string());
    let second = match text.get(1..) {
        Some("substituted") => 'u',
        Some("state") => 'x',
        Some(kind) => kind.chars().next().unwrap_or_default(),
        None => char::default(),
    };
    match text.chars().next() {
        Some('<') if text.len() > 2 => format!("({})", &text[1..]),
        Some('<') => text[1..].to_owned(),
        Some('!' | '+') => second.to_ascii_uppercase().to_string(),
        Some('?') => second.to_string(),
        _ => text,
    }
}

#[test]
fn listings_show_each_verdict_of_the_recording() {
    let Some(mut browser) = browser("html::listings_show_each_verdict_of_the_recording") else { return };
    browser.open(&whole(), "", 1400);
    for name in ["arm64/leaf", "riscv64/fgraph", "x86_64/entry_each_insn"] {
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        for section in sections(name) {
            let variant = section.variant.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
            let run = format!("{name}/{variant}{}", section.interrupt.name());
            for function in &section.functions {
                for instruction in function.instructions.iter().filter(|it| it.runs.iter().any(|runs| !runs.is_empty()))
                {
                    for (column, runs) in section.columns.iter().zip(&instruction.runs) {
                        let mut stretches: Vec<(String, u64)> = Vec::new();
                        for arrival in 1..=runs.last().map_or(0, |run| run.last) {
                            let run = runs.iter().find(|run| (run.first..=run.last).contains(&arrival));
                            let symbol = symbol(run.map(|run| run.verdict));
                            match stretches.last_mut() {
                                Some((last, count)) if *last == symbol => *count += 1,
                                _ => stretches.push((symbol, 1)),
                            }
                        }
                        let text = match stretches.as_slice() {
                            [] => format!(".*{}", instruction.visits),
                            // One verdict stands for all arrivals.
                            [(symbol, _)] => format!("{symbol}*{}", instruction.visits),
                            _ => stretches
                                .iter()
                                .map(|(symbol, count)| format!("{symbol}*{count}"))
                                .collect::<Vec<_>>()
                                .join(" "),
                        };
                        let label = label(&column.name, column.start);
                        expected.insert(format!("{run}/{}+{:#x} {label}", function.name, instruction.offset), text);
                    }
                }
            }
        }
        let found: BTreeMap<String, String> =
            serde_json::from_value(browser.eval(&format!("{CELLS}('{name}')"))).expect("a map");
        assert!(expected.len() > 50, "{name}");
        let differ: Vec<_> = { expected.iter() }
            .filter(|(key, text)| found.get(*key) != Some(text))
            .map(|(key, text)| (key, text, found.get(key)))
            .take(5)
            .collect();
        assert!(differ.is_empty(), "{name}: {differ:?}");
        assert_eq!(found.len(), expected.len(), "{name}");
    }
}

/// The first cell of the matrix with this class: its text, and how it is drawn.
fn badge(browser: &mut super::Browser, class: &str) -> Value {
    browser.eval(&format!(
        "(() => {{
            const badge = document.querySelector('.matrix .badge.{class}');
            if (!badge) return null;
            const style = getComputedStyle(badge);
            return {{ mark: badge.textContent.trim()[0], ground: style.backgroundColor, edge: style.borderTopStyle, corner: style.borderTopLeftRadius }};
        }})()"
    ))
}

#[test]
fn what_is_new_is_told_from_what_is_expected_by_shape_and_colour() {
    let Some(mut browser) = browser("html::what_is_new_is_told_from_what_is_expected_by_shape_and_colour") else {
        return;
    };
    let mut recording = some(&["arm64/leaf", "arm64/fgraph", "riscv64/leaf"]);
    let findings = recording.sections.iter_mut().flat_map(|section| &mut section.findings);
    let mut unsound: Vec<_> = findings.filter(|finding| matches!(finding.verdict, Verdict::Unsound(_))).collect();
    assert!(unsound.iter().any(|finding| finding.novelty == Some(Novelty::Known)));
    assert!(unsound.iter().any(|finding| finding.novelty == Some(Novelty::Exempt)));
    let (planted, command) = {
        let finding = unsound.iter_mut().find(|finding| finding.novelty == Some(Novelty::Known)).expect("one");
        (finding.novelty, finding.new) = (Some(Novelty::New), finding.count);
        (finding.count, format!("{} --", finding.first.point))
    };
    let (path, _folder) = written(&recording);
    browser.open(&path, "", 1400);
    assert_eq!(browser.eval("document.querySelector('.tile.new .number').textContent.trim()"), format!("▲ {planted}"));
    let [new, known, exempt] = ["new", "known", "exempt"].map(|class| badge(&mut browser, class));
    assert_eq!((&new["mark"], &known["mark"], &exempt["mark"]), (&json!("▲"), &json!("◆"), &json!("◇")));
    assert!(new["ground"] != known["ground"] && known["ground"] != exempt["ground"], "{new} {known} {exempt}");
    assert!(new["corner"] != known["corner"] && known["edge"] != exempt["edge"], "{new} {known} {exempt}");
    // Its evidence is open when its scenario is, and its command can be copied.
    browser
        .call("Browser.grantPermissions", &json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }));
    browser.eval("document.querySelector('.finding.new').closest('.scenario').open = true");
    let evidence = "document.querySelector('.finding.new .evidence')";
    assert_eq!(browser.eval(&format!("{evidence}.checkVisibility()")), true);
    let heads =
        browser.eval(&format!("[...{evidence}.querySelectorAll('.traces th')].map((head) => head.textContent)"));
    assert_eq!(heads, json!(["truth", "walk"]));
    browser.eval(&format!("{evidence}.querySelector('.copy').click(); new Promise(done => setTimeout(done, 300))"));
    assert_eq!(browser.eval(&format!("{evidence}.querySelector('.copy').textContent")), "Copied");
    let copied = browser.eval("navigator.clipboard.readText()");
    let copied = copied.as_str().expect("a text");
    assert!(copied.starts_with("unwind-harness explain ") && copied.contains(&command), "{copied}");
}

#[test]
fn what_has_no_verdict_has_a_state_of_its_own() {
    let Some(mut browser) = browser("html::what_has_no_verdict_has_a_state_of_its_own") else { return };
    let mut recording = some(&["arm64/leaf", "riscv64/leaf", "x86_64/leaf"]);
    for section in &mut recording.sections {
        let (void, not_judged) = match section.scenario.as_str() {
            "arm64/leaf" => (Some("the witnesses disagree".to_owned()), None),
            "riscv64/leaf" => (None, Some("the guest has run away".to_owned())),
            _ => (None, None),
        };
        (section.void, section.not_judged) = (void, not_judged);
    }
    let (path, _folder) = written(&Recording::new(recording.sections));
    browser.open(&path, "", 1400);
    let answer = browser.eval("document.querySelector('.answer').textContent");
    assert_eq!(answer, "1 run was not judged");
    let rows = browser.eval(
        "Object.fromEntries([...document.querySelectorAll('.matrix tr[data-s]')].map((row) =>
            [row.querySelector('a').getAttribute('href'), [...row.querySelectorAll('td.state')].map((cell) => cell.textContent.trim())]))",
    );
    let expected = json!({ "#arm64/leaf": ["⊘ void"], "#riscv64/leaf": ["? not judged"], "#x86_64/leaf": [] });
    assert_eq!(rows, expected);
    let text = browser.eval("document.querySelector('main').innerText");
    let text = text.as_str().expect("a text");
    assert!(text.contains("the witnesses disagree") && text.contains("the guest has run away"), "{text}");
}

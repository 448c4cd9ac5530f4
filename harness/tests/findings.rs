//! Every open claim is decided by a scenario, or has a reason why not; and the pages of findings say what the run says.

use std::collections::BTreeSet;
use std::path::Path;

use unwind_harness::analysis::claims::{Claim, Claims, Outcome};
use unwind_harness::analysis::select::{Class, Selection};
use unwind_harness::report::findings::{self, Page, Sources};
use unwind_harness::scenario::load_all;
use unwind_harness::verdict::{Deviation, Verdict};

use crate::whole_run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_claim_is_decided_by_the_scenario_that_names_it_or_has_a_reason() {
    let claims = Claims::load(root()).expect("the claims load");
    let scenarios = load_all(root()).expect("the scenarios load");
    let mut decided = BTreeSet::new();
    for claim in &claims.claim {
        assert!(claim.by.is_some() != claim.undecided.is_some(), "{}: by or undecided", claim.id);
        let is_complete = claim.models.is_some() && claim.on.is_some();
        assert!(claim.by.is_none() || is_complete, "{}: what was modelled, and on which configuration?", claim.id);
        if let Some(by) = &claim.by {
            let scenario = scenarios.iter().find(|scenario| scenario.name == by.scenario);
            let names = scenario.map(|scenario| &scenario.text.claims);
            assert!(names.is_some_and(|names| names.contains(&claim.id)), "{} is not in {}", claim.id, by.scenario);
            decided.insert(claim.id.clone());
        }
    }
    // What a build holds of a kernel under a condition alone, a claim says too.
    for section in whole_run::report().sections.iter().filter(|section| section.condition.is_some()) {
        let about = |claim: &&Claim| claim.by.as_ref().is_some_and(|by| by.is_of(section));
        for Claim { id, condition, .. } in claims.claim.iter().filter(about) {
            let words = section.condition.as_deref().and_then(|words| words.strip_prefix("if ")).unwrap_or_default();
            let says = condition.as_deref().is_some_and(|condition| condition.contains(words));
            assert!(says, "{id}: {condition:?} does not say that {words}");
        }
    }
    let named: BTreeSet<String> = scenarios.iter().flat_map(|scenario| scenario.text.claims.clone()).collect();
    assert_eq!(named, decided, "scenarios name claims that they do not decide");
}

/// All pages of the whole run.
fn pages() -> Vec<Page> {
    let claims = Claims::load(root()).expect("the claims load");
    let sources = Sources::load(root()).expect("the sources are there");
    findings::pages(whole_run::report(), &claims, &sources).expect("the run says what the pages say")
}

fn page(name: &str) -> String {
    pages().into_iter().find(|page| page.name() == name).expect("there is such a page").text
}

/// The page of a thread as it is checked in; that it is up to date is another test.
fn checked_in(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("docs/findings/{name}.md"))).expect("the page is checked in")
}

#[test]
fn the_pages_are_up_to_date() {
    let claims = Claims::load(root()).expect("the claims load");
    for claim in claims.claim.iter().filter(|claim| claim.by.is_some()) {
        let outcome = claim.outcome(whole_run::report());
        assert!(!matches!(outcome, Outcome::Undecided(_)), "{}: {outcome:?}", claim.id);
    }
    for page in pages() {
        let checked_in = std::fs::read_to_string(root().join(page.path)).expect("the page is checked in");
        assert!(page.text == checked_in, "{} is stale: cargo run -- findings --write", page.path);
        // 16 hexadecimal digits would be an address.
        let mut numbers = page.text.split("0x").skip(1);
        assert!(!numbers.any(|rest| rest.chars().take_while(char::is_ascii_hexdigit).count() > 8), "{}", page.path);
    }
    for folder in ["docs/findings", "docs/data"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            let is_made = pages().iter().any(|page| root().join(page.path) == path);
            // Neither kernel images nor unwinders of others are run by every test: docs/data/linux.md is made with docs/linux.md,
            // docs/data/conformance.json by `cargo xtask conformance`.
            let elsewhere = ["docs/data/linux.md", "docs/data/conformance.json"];
            assert!(
                is_made || elsewhere.iter().any(|page| path.ends_with(page)) || path.is_dir(),
                "{}: nothing makes this page",
                path.display()
            );
        }
    }
}

/// A page is read in a minute: few lines in its one table, two sentences for the answer, and commands.
#[test]
fn the_pages_of_threads_are_short() {
    for name in ["s0", "s1", "s2", "s3", "s4"] {
        let page = checked_in(name);
        assert!(page.lines().count() <= 110, "{name}: {} lines", page.lines().count());
        let lines = page.lines().filter(|line| line.starts_with("| ")).count() - 1;
        assert!((2..=12).contains(&lines), "{name}: a table of {lines} lines");
        for part in [
            "**Question.**",
            "**Answer.**",
            "**Worst case.**",
            "**Scope.**",
            "*Can happen*",
            "*Cannot*",
            "## Where",
            "```sh",
        ] {
            assert_eq!(page.replace('\n', " ").matches(part).count(), 1, "{name}: {part}");
        }
        let answer = page.split("**Answer.**").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a paragraph");
        let sentences = answer.replace('\n', " ").matches(". ").count() + 1;
        assert_eq!(sentences, 2, "{name}: {answer}");
    }
}

/// The index says nothing that the pages do not say, and each page says whose walks and whose SFrame it is about.
#[test]
fn the_index_quotes_the_pages_and_they_name_what_was_measured() {
    let index = std::fs::read_to_string(root().join("docs/findings.md")).expect("the page is there");
    for name in ["s0", "s1", "s2", "s3", "s4"] {
        let page = checked_in(name).replace("**", "");
        let row = index.lines().find(|line| line.starts_with(&format!("| [{}]", name.to_uppercase()))).expect("a row");
        let words: Vec<&str> = row.split([' ', '(', ')', ';', ',']).collect();
        let numbers =
            |words: &[&str]| matches!(words, [one, "of", all] if [one, all].iter().all(|it| it.parse::<u64>().is_ok()));
        let shares: Vec<String> =
            words.windows(3).filter(|words| numbers(words)).map(|words| words.join(" ")).collect();
        assert!(shares.len() >= 2, "{row}");
        for share in shares {
            assert!(page.contains(&format!("| {share} |")), "{name}: no line of its table has {share}");
        }
        assert!(page.contains("findings.md#who-was-measured"), "{name}");
        assert_eq!(page.contains("findings.md#whose-sframe"), name != "s4", "{name}");
    }
    // What both the index and the README say of the models is what docs/linux.md has.
    let linux = std::fs::read_to_string(root().join("docs/linux.md")).expect("the page is there");
    let points = linux.split("\nAt ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
    for page in ["docs/findings.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(page)).expect("the page is there").replace('\n', " ");
        assert!(text.contains(&format!("{points} points")), "{page}: {points}");
    }
}

/// What docs/findings.md says of the guests' SFrame: two have a section in their file, and no assembler wrote it.
#[test]
fn two_guests_have_sframe_of_their_own() {
    let mut with = Vec::new();
    for cpu in ["arm64", "riscv64", "x86_64"] {
        for entry in std::fs::read_dir(root().join("guests").join(cpu)).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            let is_guest = path.extension().is_some_and(|it| it == "elf");
            let bytes = if is_guest { std::fs::read(&path).expect("it is read") } else { continue };
            if bytes.windows(9).any(|name| name == b"\0.sframe\0") {
                let source = std::fs::read_to_string(path.with_extension("S")).expect("its source");
                assert!(source.contains("sframe.h"), "{}: a section, and not by hand", path.display());
                with.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
            }
        }
    }
    with.sort();
    assert_eq!(with, ["no_fde", "plt_stub"]);
}

/// Long tables are data.
#[test]
fn no_table_of_a_page_of_findings_has_more_than_twelve_lines() {
    for path in ["findings.md", "findings-real.md", "linux.md"] {
        let page = std::fs::read_to_string(root().join("docs").join(path)).expect("the page is there");
        let lines: Vec<&str> = page.lines().collect();
        let longest = { lines.split(|line| !line.starts_with('|')) }.map(|table| table.len().saturating_sub(2)).max();
        assert!(longest.is_some_and(|longest| (1..=12).contains(&longest)), "{path}: a table of {longest:?} lines");
    }
}

/// Every command of the pages runs, and what it is there to show is in what it prints.
#[test]
fn the_commands_of_the_pages_run() {
    for name in ["s0", "s1", "s2", "s3", "s4"] {
        let page = checked_in(name);
        let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
        for line in block.lines().filter(|line| !line.starts_with("unwind-harness findings")) {
            let line = line.split("  #").next().unwrap_or_default().trim();
            let words: Vec<String> = line.split_whitespace().skip(1).map(|word| word.replace('\'', "")).collect();
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
                .args(&words)
                .current_dir(root())
                .output()
                .expect("the program starts");
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            if words[0] == "explain" {
                let unwinder = words.last().expect("words");
                // `arm64-sframe@task: !skipped (claimed reliable, ...)`, once for each start.
                let of_it = |line: &&str| {
                    let rest = line.strip_prefix(unwinder.as_str());
                    rest.is_some_and(|rest| rest.starts_with(": ") || rest.starts_with('@'))
                };
                let mut walks = printed.lines().filter(of_it);
                let is_bad = |line: &str| [": !", ": ?", ": +"].iter().any(|mark| line.contains(mark));
                assert!(walks.any(is_bad), "{line}\n{printed}");
            }
        }
    }
}

/// One rule counts on all pages: the atlas, which has a counter of its own, comes to the same.
#[test]
fn the_pages_count_as_the_atlas_does() {
    let report = whole_run::report();
    for row in unwind_harness::analysis::atlas::rows(report) {
        let selection = format!(
            "cpu = {:?}\nunwinder = {:?}\nstarts = \"callable\"\nhook = {:?}\nfix = {:?}",
            row.cpu, row.unwinder, row.return_hook, row.fix
        );
        let selection: Selection = toml::from_str(&selection).expect("a selection");
        let counts = selection.count(report);
        // What is a kernel under a condition alone has rows in the atlas, and none on the pages.
        if !row.return_hook.contains(", if ") {
            assert_eq!(counts.walks_of(Class::Unsound), row.callable.unsound_reachable, "{:?}", row.names());
            assert_eq!(counts.of(Class::Unsound).count(), row.callable.unsound_instructions.len(), "{:?}", row.names());
        } else {
            assert_eq!(counts.all_walks(), 0, "{:?}", row.names());
        }
    }
}

/// A page that the run contradicts cannot be made: its sentences have to be written anew.
#[test]
fn a_sentence_that_the_run_contradicts_is_an_error() {
    let mut recording = whole_run::report().clone();
    let sections = recording.sections.iter_mut().filter(|section| section.scenario == "arm64/leaf_annotated");
    for run in sections.flat_map(|section| &mut section.functions).flat_map(|function| &mut function.instructions) {
        for run in run.runs.iter_mut().flatten() {
            run.verdict = Verdict::Unsound(Deviation::Skipped);
        }
    }
    let claims = Claims::load(root()).expect("the claims load");
    let sources = Sources::load(root()).expect("the sources are there");
    let error = findings::pages(&recording, &claims, &sources).expect_err("S0 says that none is unsound");
    assert!(error.to_string().contains("write it anew"), "{error}");
}

/// The first screen: what can happen, then every case once, special ones too.
#[test]
fn the_page_of_hooks_begins_with_what_can_happen() {
    let report = whole_run::report();
    let page = page("hooked");
    let (first, rest) = page.split_once("Hypothetical starts").expect("a second table");
    assert!(first.lines().count() < 60, "{}", first.lines().count());
    let rows = unwind_harness::analysis::atlas::rows(report);
    let (other, _) = rest.split_once("## All rows").expect("a third one");
    for row in &rows {
        let line = format!("| {} | {} | ", row.cpu, row.return_hook);
        for summary in [first, other] {
            assert_eq!(summary.matches(&line).count(), 1, "{line} is in the summary once");
        }
    }
    // Nothing of it is written by hand: the rows that are unsound where Linux asks, and no others.
    for row in rows.iter().filter(|row| row.return_hook == "fgraph" && row.fix == "F0") {
        let is_design = row.status.name() == "design";
        let is_open = !is_design && !row.callable.unsound_instructions.is_empty();
        let name = format!("**`{}`** ({})", row.unwinder, row.status.name());
        let mut lines = first.lines().filter(|line| line.starts_with(&format!("* {}, ", row.cpu)));
        assert_eq!(lines.any(|line| line.contains(&name)), is_open, "{name}");
    }
}

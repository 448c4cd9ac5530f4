//! One test for each scenario: its gates hold, its page is the snapshot, and the page says every verdict of the run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::recording::{Run, Section};
use unwind_harness::report::{known, snapshot};
use unwind_harness::scenario::Scenario;
use unwind_harness::subject::label;
use unwind_harness::suite::{Options, run_all};
use unwind_harness::verdict::{Deviation, Verdict};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All that is run for one scenario, with the scenario.
fn run(path: &Path) -> (Scenario, Vec<Section>) {
    let scenario = Scenario::load(path).unwrap_or_else(|error| panic!("{error}"));
    let scenarios = [scenario];
    let options = Options { threads: Some(1), ..Options::default() };
    let (report, _) = run_all(root(), &scenarios, &options).unwrap_or_else(|error| panic!("{error}"));
    let [scenario] = scenarios;
    (scenario, report.sections)
}

fn page(sections: &[Section]) -> String {
    let mut page = Vec::new();
    snapshot::write(sections, &mut page).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(page).expect("a page is text")
}

#[rstest]
fn scenario(
    #[files("scenarios/*/*.toml")]
    #[exclude("scenarios/linux/")]
    path: PathBuf,
) {
    let (scenario, sections) = run(&path);
    let mut problems = Vec::new();
    for section in &sections {
        if let (Some(reason), false) = (&section.void, section.void_is_meant) {
            problems.push(format!("{}: void: {reason}", section.title()));
        }
        problems.extend(section.failures.iter().map(|failure| format!("{}: {}", section.title(), failure.message)));
    }
    // Gates come before the difference to the snapshot, which may be long.
    let problems = told(&problems, &sections);
    if !problems.is_empty() {
        eprintln!("{problems}");
    }
    let page = page(&sections);

    let (cpu, name) = scenario.name.split_once('/').expect("a scenario's name is <cpu>/<name>");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots").join(cpu));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, page));
    assert!(problems.is_empty(), "\n{problems}");

    let read = snapshot::parse(&page).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    assert_eq!(read.scenario, scenario.name);
    assert_same(&said_by_run(&sections), &said_by_page(&read));
    assert_a_changed_verdict_is_a_changed_line(&sections, &page);
}

/// Broken gates, with what would list them as expected.
fn told(problems: &[String], sections: &[Section]) -> String {
    let mut text = problems.join("\n");
    let blocks = known::blocks(&sections.iter().collect::<Vec<_>>());
    if !blocks.is_empty() {
        let _ = write!(text, "\nIf it must be so, say it in the scenario, with the reason:\n{blocks}");
    }
    text
}

/// Fails with the first line that differs: the whole is too long to be read.
fn assert_same(run: &str, page: &str) {
    for (index, (run, page)) in run.lines().zip(page.lines()).enumerate() {
        assert_eq!(run, page, "fact {index} of the run, and of the page");
    }
    assert_eq!(run.lines().count(), page.lines().count(), "facts of the run, and of the page");
}

/// Everything that a run found, one fact to a line; of a void one only that it is.
fn said_by_run(sections: &[Section]) -> String {
    let mut facts = Facts::default();
    for section in sections {
        facts.head = format!("{}\t{}", section.variant.as_deref().unwrap_or("-"), section.interrupt.name());
        if let Some(reason) = &section.void {
            facts.add(&format!("void\t{reason}"));
            continue;
        }
        facts.add(&format!("{}\t{}\t{:?}", section.points, section.distinct_pcs, section.outer));
        facts.add(&format!("{:?}\t{:?}", section.left_out, section.unwitnessed));
        for subject in &section.columns {
            facts.add(&format!("{}\t{:?}\t{}", subject.label(), subject.counters, subject.reads_outside_stacks));
        }
        for function in &section.functions {
            for instruction in &function.instructions {
                let place = format!("{}+{:#x}", function.name, instruction.offset);
                facts.add(&format!("{place}\t{}\t{}", instruction.visits, instruction.split));
                for run in &instruction.addresses {
                    facts.add(&format!("{place}\t{}-{}\t{}\t{}", run.first, run.last, run.places, run.lost));
                }
                for (subject, runs) in section.columns.iter().zip(&instruction.runs) {
                    facts.walks(&format!("{place}\t{}", subject.label()), section.interrupt.name(), runs);
                }
            }
        }
    }
    facts.text
}

/// The same, of what was read from a page.
fn said_by_page(page: &snapshot::Page) -> String {
    let mut facts = Facts::default();
    for section in &page.sections {
        facts.head = format!("{}\t{}", section.variant.as_deref().unwrap_or("-"), section.interrupt);
        if let Some(reason) = &section.void {
            facts.add(&format!("void\t{reason}"));
            continue;
        }
        facts.add(&format!("{}\t{}\t{:?}", section.points, section.distinct_pcs, section.outer));
        facts.add(&format!("{:?}\t{:?}", section.left_out, section.unwitnessed));
        for subject in &section.subjects {
            let label = label(&subject.name, subject.start);
            facts.add(&format!("{label}\t{:?}\t{}", subject.counters, subject.reads_outside_stacks));
        }
        for function in &section.functions {
            for instruction in &function.instructions {
                let place = format!("{}+{:#x}", function.name, instruction.offset);
                facts.add(&format!("{place}\t{}\t{}", instruction.visits, instruction.split));
                for run in &instruction.addresses {
                    facts.add(&format!("{place}\t{}-{}\t{}\t{}", run.first, run.last, run.places, run.lost));
                }
                for (subject, runs) in section.subjects.iter().zip(&instruction.runs) {
                    let label = label(&subject.name, subject.start);
                    facts.walks(&format!("{place}\t{label}"), &section.interrupt, runs);
                }
            }
        }
    }
    facts.text
}

#[derive(Default)]
struct Facts {
    head: String,
    text: String,
}

impl Facts {
    fn add(&mut self, fact: &str) {
        let _ = writeln!(self.text, "{}\t{fact}", self.head);
    }

    /// One line for each walk. The order of damage says nothing, so of corrupt stacks only how often there was which verdict.
    fn walks(&mut self, place: &str, kind: &str, runs: &[Run]) {
        let mut walks: Vec<(u64, Verdict, bool)> = Vec::new();
        for run in runs {
            walks.extend((run.first..=run.last).map(|arrival| (arrival, run.verdict, run.reachable)));
        }
        if kind == "corrupt" {
            walks.sort_by_key(|(_, verdict, reachable)| (*verdict, *reachable));
            (1..).zip(&mut walks).for_each(|(number, walk)| walk.0 = number);
        }
        for (arrival, verdict, reachable) in walks {
            self.add(&format!("{place}\t#{arrival}\t{verdict}\t{reachable}"));
        }
    }
}

/// Changes single verdicts, here and there: besides counts, at most one line becomes three.
fn assert_a_changed_verdict_is_a_changed_line(sections: &[Section], page: &str) {
    /// So many changes to a scenario.
    const SAMPLES: usize = 12;
    let page = unfolded(page);
    let mut places = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        for (function, instructions) in section.functions.iter().map(|function| &function.instructions).enumerate() {
            let judged =
                (0..instructions.len()).filter(|at| instructions[*at].runs.iter().any(|runs| !runs.is_empty()));
            places.extend(judged.map(|instruction| (index, function, instruction)));
        }
    }
    let step = places.len().div_ceil(SAMPLES).max(1);
    for (number, (section, function, instruction)) in places.into_iter().step_by(step).enumerate() {
        let mut changed = sections.to_vec();
        let place = {
            let section = &mut changed[section];
            let title = section.title();
            let function = &mut section.functions[function];
            let instruction = &mut function.instructions[instruction];
            let mut columns: Vec<_> = instruction.runs.iter_mut().filter(|runs| !runs.is_empty()).collect();
            let column = number % columns.len();
            let run = &mut columns[column][0];
            // One that the neighbours do not have: else lines could become fewer.
            let rare = Verdict::WrongFlagged(Deviation::Repeated);
            run.verdict = if run.verdict == rare { Verdict::Cautious } else { rare };
            format!("{title} {}+{:#x}", function.name, instruction.offset)
        };
        let changed = unfolded(&self::page(&changed));
        let removed = missing(&page, &changed);
        let added = missing(&changed, &page);
        assert!(removed.len() <= 1 && count(&added) <= 3, "{place}\n-{}\n+{}", removed.join("\n-"), added.join("\n+"));
    }
}

/// How many lines there are, where the parts of a line that would be too wide are one.
fn count(lines: &[&str]) -> usize {
    let groups = lines.iter().filter_map(|line| line.split_once("| ")).map(|(_, groups)| groups);
    let places = groups.clone().filter(|groups| groups.starts_with("at ")).count();
    let of_one_start = groups.filter(|groups| groups.contains('@')).count();
    lines.len() - places - of_one_start.saturating_sub(1)
}

/// A page with its folded lines in one.
fn unfolded(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        match line.strip_suffix('\\') {
            Some(line) => text += line,
            None => text = text + line + "\n",
        }
    }
    text
}

/// Whether a line counts verdicts: it begins with a column's letter.
fn is_count(line: &str) -> bool {
    line.as_bytes().get(1) == Some(&b' ') && line.as_bytes()[0].is_ascii_lowercase()
}

/// The lines of `one` that `other` lacks, apart from counts.
fn missing<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let mut others: Vec<&str> = other.lines().collect();
    let mut missing = Vec::new();
    for line in one.lines().filter(|line| !is_count(line)) {
        match others.iter().position(|other| *other == line) {
            Some(index) => drop(others.swap_remove(index)),
            None => missing.push(line),
        }
    }
    missing
}

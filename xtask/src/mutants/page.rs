//! What became of each mutant, as it is kept in the documents: all of them in `docs/unwinder-mutants.md`, from which it is read back,
//! and numbers and survivors in `docs/mutants.md`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use super::list::Mutant;
use crate::Outcome;
use crate::marks::replaced;

const TABLE: &str = "docs/unwinder-mutants.md";
const PAGE: &str = "docs/mutants.md";
/// Between these lines, the page is written by this program.
const MARKERS: [&str; 2] = ["<!-- cargo xtask mutants -->\n", "<!-- the end of cargo xtask mutants -->\n"];

const HEAD: &str = "\
# Mutants of the unwinders, one by one

Written by `cargo xtask mutants`; [mutants.md](mutants.md) says what this is. Two columns say what noticed the mutant: of the scenarios
the gates of a CPU, or `check`, whichever came first; and kunwind's own tests.
";

/// What the scenarios or the tests say of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// They fail: which of them, and how where that is unusual.
    Noticed(String),
    /// They come to it, and pass.
    Nothing,
    /// They do not come to it.
    Unreached,
    /// They were not run.
    NotRun,
}

impl Answer {
    pub(super) const fn is_noticed(&self) -> bool {
        matches!(self, Self::Noticed(_))
    }

    fn parse(text: &str) -> Self {
        match text {
            "nothing" => Self::Nothing,
            "unreached" => Self::Unreached,
            "not run" => Self::NotRun,
            noticed => Self::Noticed(noticed.to_owned()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Noticed(what) => what,
            Self::Nothing => "nothing",
            Self::Unreached => "unreached",
            Self::NotRun => "not run",
        })
    }
}

/// What becomes of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noticed {
    pub(super) scenarios: Answer,
    pub(super) tests: Answer,
}

impl Noticed {
    const NOT_RUN: Self = Self { scenarios: Answer::NotRun, tests: Answer::NotRun };

    fn is_caught(&self) -> bool {
        self.scenarios.is_noticed() || self.tests.is_noticed()
    }

    /// Whether all of it ran, and noticed nothing.
    fn survives(&self) -> bool {
        !self.is_caught() && self.scenarios != Answer::NotRun && self.tests != Answer::NotRun
    }

    fn is_unreached(&self) -> bool {
        self.scenarios == Answer::Unreached && self.tests == Answer::Unreached
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "scenarios: {}, tests: {}", self.scenarios, self.tests)
    }
}

/// By the mutants' names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results(BTreeMap<String, Noticed>);

impl Results {
    /// What the document says of the mutants that are still in the list.
    pub(super) fn read(root: &Path, all: &[Mutant]) -> Result<Self, String> {
        match std::fs::read_to_string(root.join(TABLE)) {
            Ok(text) => Ok(Self::parse(&text, all)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{TABLE}: {error}")),
        }
    }

    fn parse(text: &str, all: &[Mutant]) -> Self {
        let mut results = Self::default();
        for line in text.lines() {
            let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
            if let [name, _, _, scenarios, tests] = cells[..]
                && let Some(mutant) = all.iter().find(|mutant| name.trim_matches('`') == mutant.name)
            {
                let [scenarios, tests] = [scenarios, tests].map(Answer::parse);
                results.set(&mutant.name, Noticed { scenarios, tests });
            }
        }
        results
    }

    pub(super) fn set(&mut self, name: &str, noticed: Noticed) {
        self.0.insert(name.to_owned(), noticed);
    }

    /// What the scenarios said of a mutant when they were last run for it.
    pub(super) fn scenarios(&self, mutant: &Mutant) -> Answer {
        self.of(mutant).scenarios.clone()
    }

    fn of(&self, mutant: &Mutant) -> &Noticed {
        self.0.get(&mutant.name).unwrap_or(&Noticed::NOT_RUN)
    }

    /// A survivor without a reason, or a reason without a survivor.
    pub(super) fn contradiction(&self, mutant: &Mutant) -> Option<String> {
        let (name, noticed) = (&mutant.name, self.of(mutant));
        match &mutant.excuse {
            None if !noticed.is_caught() => Some(format!(
                "{name}: {noticed}; write a test or a guest that notices it, or the reason into xtask/src/mutants/list.txt"
            )),
            Some(_) if noticed.is_caught() => {
                Some(format!("{name}: now noticed ({noticed}); take its reason out of xtask/src/mutants/list.txt"))
            }
            Some(_) if !noticed.survives() => Some(format!("{name}: {noticed}; it must run before it has a reason")),
            Some(excuse) if (excuse.word == "unreached") != noticed.is_unreached() => {
                Some(format!("{name}: {noticed}, but its reason says {}", excuse.word))
            }
            _ => None,
        }
    }

    /// How many there are, and what noticed them: a line for each file, and one for all.
    pub(super) fn summary(&self, all: &[Mutant]) -> String {
        let mut text = String::from("| file | mutants | gates | check | tests | tests alone | nothing | not run |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        let mut line = |name: &str, mutants: &[&Mutant]| {
            let count = |is: &dyn Fn(&Noticed) -> bool| mutants.iter().filter(|mutant| is(self.of(mutant))).count();
            let by = |what: &str| count(&|noticed| noticed.scenarios.to_string().starts_with(what));
            let (gates, check) = (by("gates"), by("check"));
            let tests = count(&|noticed| noticed.tests.is_noticed());
            let alone = count(&|noticed| {
                noticed.tests.is_noticed() && [Answer::Nothing, Answer::Unreached].contains(&noticed.scenarios)
            });
            let (survive, of) = (count(&Noticed::survives), mutants.len());
            let not_run = count(&|noticed| !noticed.is_caught() && !noticed.survives());
            let _ = writeln!(text, "| {name} | {of} | {gates} | {check} | {tests} | {alone} | {survive} | {not_run} |");
        };
        for file in files(all) {
            let of_file: Vec<&Mutant> = all.iter().filter(|mutant| mutant.file == file).collect();
            line(&format!("`{file}`"), &of_file);
        }
        line("all", &all.iter().collect::<Vec<_>>());
        text
    }

    /// The mutants that nothing notices, with their reasons.
    fn survivors(&self, all: &[Mutant]) -> String {
        if !all.iter().any(|mutant| self.of(mutant).survives()) {
            return "There is none that ran and that nothing notices.\n".to_owned();
        }
        let mut text = String::from("| mutant | what it does | why nothing notices it |\n|---|---|---|\n");
        for mutant in all.iter().filter(|mutant| self.of(mutant).survives()) {
            let reason = match &mutant.excuse {
                Some(excuse) => format!("{}: {}", excuse.word, excuse.reason),
                None => "not known yet".to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {} | {reason} |", mutant.name, mutant.change);
        }
        text
    }

    fn table(&self, all: &[Mutant]) -> String {
        let mut text = HEAD.to_owned();
        for file in files(all) {
            let _ =
                write!(text, "\n## {file}\n\n| mutant | what it does | the fault it imitates | scenarios | tests |\n");
            text.push_str("|---|---|---|---|---|\n");
            for mutant in all.iter().filter(|mutant| mutant.file == file) {
                let (Mutant { name, change, imitates, .. }, Noticed { scenarios, tests }) = (mutant, self.of(mutant));
                let _ = writeln!(text, "| `{name}` | {change} | {imitates} | {scenarios} | {tests} |");
            }
        }
        text
    }

    /// The page with its part between the markers as it is now.
    fn page(&self, page: &str, all: &[Mutant]) -> Result<String, String> {
        replaced(PAGE, page, MARKERS, &format!("\n{}\n{}\n", self.summary(all), self.survivors(all)))
    }

    /// Writes both documents.
    pub(super) fn write(&self, root: &Path, all: &[Mutant]) -> Outcome {
        let page = std::fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
        for (name, text) in [(TABLE, self.table(all)), (PAGE, self.page(&page, all)?)] {
            std::fs::write(root.join(name), text).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }
}

/// The files of the list, in its order.
fn files(all: &[Mutant]) -> Vec<&str> {
    let mut files: Vec<&str> = all.iter().map(|mutant| mutant.file.as_str()).collect();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::list::{Excuse, mutants};
    use crate::root;

    fn mutant(name: &str, word: Option<&str>) -> Mutant {
        let excuse = word.map(|word| Excuse { word: word.to_owned(), reason: "because".to_owned() });
        let [file, change, imitates] = ["a.rs", "does", "imitates"].map(str::to_owned);
        Mutant { name: name.to_owned(), file, cpus: vec!["arm64".to_owned()], change, imitates, excuse }
    }

    fn noticed(scenarios: &str, tests: &str) -> Noticed {
        let [scenarios, tests] = [scenarios, tests].map(Answer::parse);
        Noticed { scenarios, tests }
    }

    #[test]
    fn a_survivor_needs_a_reason_and_a_reason_a_survivor() {
        let wrong = |scenarios: &str, tests: &str, word| {
            let mut results = Results::default();
            results.set("m", noticed(scenarios, tests));
            results.contradiction(&mutant("m", word))
        };
        assert_eq!(wrong("gates (arm64)", "nothing", None), None);
        assert_eq!(wrong("not run", "tests", None), None);
        assert_eq!(wrong("nothing", "unreached", Some("equivalent")), None);
        assert_eq!(wrong("unreached", "unreached", Some("unreached")), None);
        assert!(wrong("nothing", "nothing", None).unwrap().contains("; write a test"));
        assert!(wrong("not run", "nothing", None).unwrap().contains("; write a test"));
        assert!(wrong("check (arm64)", "nothing", Some("missed")).unwrap().contains("now noticed"));
        assert!(wrong("not run", "nothing", Some("missed")).unwrap().contains("must run"));
        assert!(wrong("unreached", "unreached", Some("missed")).unwrap().contains("its reason says missed"));
        assert!(Results::default().contradiction(&mutant("m", None)).unwrap().contains("scenarios: not run"));
    }

    #[test]
    fn the_documents_read_back_and_what_did_not_run_is_counted_apart() {
        let all = [mutant("m", None), mutant("n", Some("missed")), mutant("o", None), mutant("p", None)];
        let mut results = Results::default();
        results.set("m", noticed("unreached", "tests"));
        results.set("n", noticed("nothing", "unreached"));
        results.set("o", noticed("not run", "nothing"));
        results.set("p", noticed("gates (arm64)", "tests"));
        let table = results.table(&all);
        assert_eq!(Results::parse(&table, &all), results);
        let scenarios: Vec<String> = all.iter().map(|mutant| results.scenarios(mutant).to_string()).collect();
        assert_eq!(scenarios, ["unreached", "nothing", "not run", "gates (arm64)"]);
        assert!(table.contains("| `o` | does | imitates | not run | nothing |"), "{table}");
        let summary = results.summary(&all);
        assert!(summary.ends_with("| all | 4 | 1 | 0 | 2 | 1 | 1 | 1 |\n"), "{summary}");
        let page = results.page(&format!("a\n{}x\n{}b\n", MARKERS[0], MARKERS[1]), &all).unwrap();
        assert!(page.starts_with("a\n<!--") && page.ends_with("-->\nb\n") && !page.contains("x\n"), "{page}");
        assert!(page.contains("| `n` | does | missed: because |") && !page.contains("| `o` |"), "{page}");
        assert!(results.page("nothing", &all).unwrap_err().contains("has no lines"));
        results.set("n", noticed("nothing", "tests"));
        assert_eq!(results.survivors(&all), "There is none that ran and that nothing notices.\n");
    }

    /// A mutant that was added, renamed or explained is run again, or at least written down as not run.
    #[test]
    fn the_documents_have_what_the_list_has() {
        let all = mutants().unwrap();
        let results = Results::read(&root(), &all).unwrap();
        let read = |name: &str| std::fs::read_to_string(root().join(name)).expect(name);
        assert_eq!(read(TABLE), results.table(&all), "cargo xtask mutants writes {TABLE}");
        assert_eq!(read(PAGE), results.page(&read(PAGE), &all).unwrap(), "cargo xtask mutants writes {PAGE}");
    }
}

//! The list of mutants: `list.txt`.

use super::CPUS;

/// A mistake in kunwind that the environment can select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// Its name, as kunwind's macro `mutant!` has it.
    pub(super) name: String,
    /// The file, in harness/kunwind/src.
    pub(super) file: String,
    /// The CPUs whose scenarios come to that file.
    pub(super) cpus: Vec<String>,
    /// What it does.
    pub(super) change: String,
    /// The fault that it imitates.
    pub(super) imitates: String,
    /// Why nothing notices it.
    pub(super) excuse: Option<Excuse>,
}

/// Why nothing notices a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excuse {
    /// One of [`WORDS`].
    pub(super) word: String,
    /// The reason in full.
    pub(super) reason: String,
}

/// No walk can differ; no test comes to it; a walk may differ, but none that is judged.
pub(super) const WORDS: [&str; 3] = ["equivalent", "unreached", "missed"];

/// The mutants in the order of the list.
pub(super) fn mutants() -> Result<Vec<Mutant>, String> {
    parse(include_str!("list.txt"))
}

fn parse(text: &str) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut group: Option<(String, Vec<String>)> = None;
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("xtask/src/mutants/list.txt, line {}: {what}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(line) = line.strip_prefix("  ") else {
            let (file, cpus) = line.split_once(": ").ok_or(wrong("a file is FILE: CPU CPU"))?;
            let cpus: Vec<String> = cpus.split(' ').map(str::to_owned).collect();
            if let Some(unknown) = cpus.iter().find(|cpu| !CPUS.contains(&cpu.as_str())) {
                return Err(wrong(&format!("there is no CPU {unknown:?}")));
            }
            group = Some((file.to_owned(), cpus));
            continue;
        };
        let (file, cpus) = group.clone().ok_or(wrong("a mutant stands before the first file"))?;
        let fields: Vec<&str> = line.split(" | ").collect();
        let (name, change, imitates, excuse) = match fields[..] {
            [name, change, imitates] => (name, change, imitates, None),
            [name, change, imitates, excuse] => {
                let known = excuse.split_once(": ").filter(|(word, _)| WORDS.contains(word));
                let (word, reason) = known.ok_or(wrong("a reason begins with `equivalent: ` or another such word"))?;
                (name, change, imitates, Some(Excuse { word: word.to_owned(), reason: reason.to_owned() }))
            }
            _ => {
                return Err(wrong(
                    "a mutant is NAME | WHAT IT DOES | WHAT IT IMITATES, and perhaps | WHY IT IS MISSED",
                ));
            }
        };
        if mutants.iter().any(|mutant| mutant.name == name) {
            return Err(wrong(&format!("there are two mutants {name}")));
        }
        let [name, change, imitates] = [name, change, imitates].map(str::to_owned);
        mutants.push(Mutant { name, file, cpus, change, imitates, excuse });
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;
    use std::path::Path;

    /// The names that the macro has in each file, by the file's path in the folder.
    fn in_sources(folder: &Path, below: &str, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let name = format!("{below}{}", path.file_name().expect("a name").to_string_lossy());
            if path.is_dir() {
                in_sources(&path, &format!("{name}/"), found);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a readable file");
            for after in text.split("mutant!(").skip(1) {
                let literal = after.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
                if let Some((mutant, _)) = literal {
                    found.push((mutant.to_owned(), name.clone()));
                }
            }
        }
    }

    #[test]
    fn each_mutant_of_the_list_is_once_in_its_file_and_no_other_is_there() {
        let mut found = Vec::new();
        in_sources(&root().join("harness/kunwind/src"), "", &mut found);
        let mutants = mutants().unwrap();
        let mut listed: Vec<_> = mutants.iter().map(|mutant| (mutant.name.clone(), mutant.file.clone())).collect();
        found.sort();
        listed.sort();
        assert_eq!(found, listed);
        assert!(listed.len() >= 60);
    }

    #[test]
    fn the_list_says_where_it_is_wrong() {
        let wrong = [
            ("  a | b | c", "line 1: a mutant stands before the first file"),
            ("x.rs", "line 1: a file is FILE: CPU CPU"),
            ("x.rs: arm", "line 1: there is no CPU \"arm\""),
            ("x.rs: arm64\n  a | b", "line 2: a mutant is NAME | WHAT IT DOES"),
            ("x.rs: arm64\n  a | b | c\n  a | d | e", "line 3: there are two mutants a"),
            ("x.rs: arm64\n  a | b | c | never mind", "line 2: a reason begins with `equivalent: `"),
        ];
        for (text, expected) in wrong {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(expected), "{text}: {reason}");
        }
    }

    /// Whoever builds kunwind without asking for mutants must not get them.
    #[test]
    fn the_feature_is_off_unless_it_is_asked_for() {
        for manifest in ["Cargo.toml", "harness/kunwind/Cargo.toml"] {
            let text = std::fs::read_to_string(root().join(manifest)).expect("a manifest");
            let features =
                text.split_once("\n[features]\n").expect("features").1.split("\n[").next().unwrap_or_default();
            assert!(features.contains("\nmutants = ["), "{manifest}");
            assert!(!features.lines().any(|line| line.starts_with("default")), "{manifest}");
            let users = text.lines().filter(|line| line.contains("\"mutants\"") || line.contains("/mutants\""));
            let expected: &[&str] = if manifest == "Cargo.toml" { &["mutants = [\"kunwind/mutants\"]"] } else { &[] };
            assert_eq!(users.collect::<Vec<_>>(), expected, "{manifest}");
        }
    }
}

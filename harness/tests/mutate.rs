//! Mistakes planted in unwind rows: what `check` would miss of them.

use std::collections::BTreeMap;
use std::path::Path;

use rstest::rstest;
use unwind_harness::interrupt::Interrupt;
use unwind_harness::recording::mutation::{Family, MutantCounts, Mutation, State, Why};
use unwind_harness::report::mutation::{totals, write};
use unwind_harness::rows::{FORMATS, mutate_all};
use unwind_harness::scenario::load_all;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The mutants of these scenarios; of all if none is named.
fn mutate(names: &[&str]) -> Mutation {
    let mut scenarios = load_all(root()).expect("the scenarios are read");
    scenarios.retain(|scenario| names.is_empty() || names.contains(&&*scenario.name));
    mutate_all(root(), &scenarios, &FORMATS, &Interrupt::default())
}

#[test]
fn nearly_all_that_can_be_told_apart_are_caught() {
    let mutation = mutate(&[]);
    let totals = totals(&mutation);
    assert_eq!(totals.keys().copied().collect::<Vec<_>>(), ["dwarf", "orc", "sframe"]);
    for (format, counts) in totals {
        assert!(counts.score() >= Some(99_00), "{format}: {counts:?}");
        assert!(counts.caught > 50_000, "{format}: {counts:?}");
    }
    let failed = mutation.guests.iter().filter(|guest| !matches!(guest.state, State::Judged | State::MeantVoid(_)));
    assert_eq!(failed.map(|guest| &guest.name).collect::<Vec<_>>(), Vec::<&String>::new());
    let missed = mutation.guests.iter().flat_map(|guest| guest.missed.iter().map(move |missed| (&guest.name, missed)));
    let unseen: Vec<_> = missed.filter(|(_, missed)| missed.why == Why::CalledRight).collect();
    assert!(unseen.is_empty(), "{unseen:#?}");
}

/// Plain functions leave no mistake unseen, of any kind.
#[rstest]
#[case("arm64/leaf", &["dwarf", "sframe"])]
#[case("riscv64/leaf", &["dwarf"])]
#[case("x86_64/leaf", &["dwarf", "orc", "sframe"])]
fn of_plain_functions_all_are_caught(#[case] scenario: &str, #[case] formats: &[&str]) {
    let mutation = mutate(&[scenario]);
    let mut families: BTreeMap<Family, MutantCounts> = BTreeMap::new();
    for guest in &mutation.guests {
        assert_eq!(guest.missed, [], "{}", guest.name);
        for table in &guest.tables {
            assert!(formats.contains(&&*table.format), "{}", table.format);
            for (family, counts) in &table.families {
                families.entry(*family).or_default().add(counts);
            }
            // Each mutant is in the counts of one function and of one family.
            let mut of_functions = MutantCounts::default();
            table.functions.iter().for_each(|function| of_functions.add(&function.counts));
            let mut of_families = MutantCounts::default();
            table.families.values().for_each(|counts| of_families.add(counts));
            assert_eq!(of_functions, of_families);
        }
    }
    for family in Family::ALL {
        let counts = families.get(&family).copied().unwrap_or_default();
        let signs = scenario.starts_with("arm64");
        assert_eq!(counts.caught > 0, family != Family::Signed || signs, "{family:?}: {counts:?}");
    }
}

#[test]
fn a_register_that_is_said_to_be_lost_is_not_called_right() {
    let mutation = mutate(&["arm64/leaf"]);
    let lost: Vec<_> = { mutation.guests.iter() }
        .flat_map(|guest| &guest.missed)
        .filter(|missed| missed.mistake.ends_with(" lost"))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn the_score_is_on_one_screen() {
    let mut text = Vec::new();
    write(&mutate(&["arm64/leaf", "x86_64/leaf", "x86_64/user_entry"]), false, &mut text).expect("memory takes all");
    let text = anstream::adapter::strip_str(std::str::from_utf8(&text).expect("text")).to_string();
    assert!(text.lines().count() <= 60, "{text}");
    for says in ["mutants in the unwind rows of", "indistinguishable", "unreached", "score"] {
        assert!(text.contains(says), "{says:?} in {text}");
    }
}

#[test]
fn the_command_refuses_a_score_that_is_too_low() {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
        let output = command.arg("mutate").args(arguments).current_dir(root()).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    assert_eq!(run(&["arm64/leaf"]).0, Some(0));
    let (status, out) = run(&["x86_64/user_entry", "--table", "orc", "--least", "100"]);
    assert_eq!(status, Some(1), "{out}");
    assert!(out.contains("nothing is known there to judge it by"), "{out}");
    assert!(!out.contains("dwarf"), "{out}");
    assert_eq!(run(&["arm64/leaf", "--table", "stabs"]).0, Some(2));
}

//! Every open claim is decided by a scenario, or has a reason why not; and docs/findings.md is up to date.

use std::collections::BTreeSet;
use std::path::Path;

use unwind_harness::analysis::claims::{Claim, Claims, Outcome};
use unwind_harness::report::findings;
use unwind_harness::scenario::load_all;

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

#[test]
fn the_page_is_up_to_date() {
    let report = whole_run::report();
    let claims = Claims::load(root()).expect("the claims load");
    for claim in claims.claim.iter().filter(|claim| claim.by.is_some()) {
        let outcome = claim.outcome(report);
        assert!(!matches!(outcome, Outcome::Undecided(_)), "{}: {outcome:?}", claim.id);
    }
    let mut page = Vec::new();
    findings::write(report, &claims, &mut page).expect("a vector takes everything");
    let page = String::from_utf8(page).expect("text");
    let checked_in = std::fs::read_to_string(root().join("docs/findings.md")).expect("the page is checked in");
    assert!(page == checked_in, "docs/findings.md is stale: cargo run -- findings > docs/findings.md");
    // 16 hexadecimal digits would be an address.
    assert!(!page.split("0x").skip(1).any(|rest| rest.chars().take_while(char::is_ascii_hexdigit).count() > 8));
}

/// The first screen: what can happen, then every case once, special ones too.
#[test]
fn the_page_begins_with_what_can_happen() {
    let report = whole_run::report();
    let claims = Claims::load(root()).expect("the claims load");
    let mut page = Vec::new();
    findings::write(report, &claims, &mut page).expect("a vector takes everything");
    let page = String::from_utf8(page).expect("text");
    let (first, rest) = page.split_once("Hypothetical starts").expect("a second table");
    assert!(first.lines().count() < 60, "{}", first.lines().count());
    let rows = unwind_harness::analysis::atlas::rows(report);
    let (other, _) = rest.split_once("### All rows").expect("a third one");
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

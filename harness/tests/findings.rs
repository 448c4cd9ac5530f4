//! Every open claim is decided by a scenario, or has a reason why not; and docs/findings.md is up to date.

use std::collections::BTreeSet;
use std::path::Path;

use unwind_harness::analysis::claims::{Claims, Outcome};
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
        if let Some(by) = &claim.by {
            let scenario = scenarios.iter().find(|scenario| scenario.name == by.scenario);
            let names = scenario.map(|scenario| &scenario.text.claims);
            assert!(names.is_some_and(|names| names.contains(&claim.id)), "{} is not in {}", claim.id, by.scenario);
            decided.insert(claim.id.clone());
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

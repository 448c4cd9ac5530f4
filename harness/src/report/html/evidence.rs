//! Findings: truth beside walk, with the words that the walk read, and the command that explains it.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::model::{Scenario, anchor, column_of, count};
use crate::recording::{Finding, Novelty, Section, WordRead};

/// How many new findings of a scenario are told in full; of an unwinder that is always wrong there are thousands.
const FULL: usize = 20;

/// A finding, in its run.
type Found<'r> = (&'r Section, &'r Finding);

/// A command with a button that copies it.
pub(super) fn copyable(command: &str) -> Markup {
    html! { p.command { code { (command) } button.copy.script-only type="button" { "Copy" } } }
}

/// The findings of a scenario: in full what is new, and the first of each expected deviation; the rest as a list of places.
pub(super) fn findings(scenario: &Scenario<'_>) -> Markup {
    let all =
        || scenario.sections.iter().flat_map(|section| section.findings.iter().map(|finding| (*section, finding)));
    let new: Vec<Found<'_>> = all().filter(|(_, finding)| finding.novelty == Some(Novelty::New)).collect();
    // By reason, in the order of first appearance.
    let mut known: Vec<(&str, Vec<Found<'_>>)> = Vec::new();
    for (section, finding) in all().filter(|(_, finding)| finding.novelty == Some(Novelty::Known)) {
        let reason = finding.reason.and_then(|place| section.reasons.get(place)).map_or("", String::as_str);
        match known.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, places)) => places.push((section, finding)),
            None => known.push((reason, vec![(section, finding)])),
        }
    }
    html! {
        @for (section, finding) in new.iter().take(FULL) {
            details.finding.new open {
                summary { span.badge.new { "▲ new" } " " (head(finding)) " " span.where { (section.title()) } }
                (evidence(section, finding))
            }
        }
        @if new.len() > FULL {
            details.finding.new {
                summary { span.badge.new { "▲ new" } " and " (new.len() - FULL) " more" }
                (self::places(&new[FULL..]))
                p { "Each has its command in the listing below." }
            }
        }
        @for (reason, places) in &known {
            details.finding.known {
                summary { span.badge.known { "◆ expected" } " " (reason) " " span.where { (walks(places)) } }
                (evidence(places[0].0, places[0].1))
                (self::places(places))
            }
        }
        (exempt(scenario))
    }
}

fn walks(places: &[Found<'_>]) -> String {
    count(places.iter().map(|(_, finding)| finding.count).sum(), "walk", "walks")
}

fn head(finding: &Finding) -> Markup {
    html! { code { (finding.label()) } " is " code { (finding.verdict) } " at " code { (finding.range.to_string()) } }
}

/// Truth beside walk, and the words that the walk read.
fn evidence(section: &Section, finding: &Finding) -> Markup {
    let first = &finding.first;
    let column = column_of(section, finding);
    let link = format!("{}/{}+{:#x}", anchor(section), finding.range.function, finding.range.first);
    html! {
        div.evidence {
            p {
                "At " a href={ "#" (link) } { code { (first.point) } } " (" (section.title()) "), " code { (finding.label()) } " is "
                b { (finding.verdict) }
                @if finding.count > 1 { ", one of " (count(finding.count, "such walk", "such walks")) " at " code { (finding.range.to_string()) } }
                @if !finding.reachable { ", where the interruption is masked" }
                ". "
                @match column.and_then(|column| column.caller.as_ref()) {
                    Some(caller) => { "In Linux, this asks: " (caller) "." },
                    None => { "Nobody asks in Linux from this start: it is a question about the algorithm." },
                }
            }
            (side_by_side(finding))
            @if !first.state.is_empty() { ul.state { @for wrong in &first.state { li { (wrong) } } } }
            (words(finding))
            (copyable(&section.explain_command(&first.point, &finding.subject)))
        }
    }
}

/// The two traces, aligned by their common entries.
fn side_by_side(finding: &Finding) -> Markup {
    let (truth, walk) = (&finding.first.expected, &finding.first.got);
    let rules = &finding.first.rules;
    let has_rules = !rules.is_empty();
    let mut rules = rules.iter();
    html! {
        table.traces {
            thead { tr { th { "truth" } th { "walk" } @if has_rules { th { "found by" } } } }
            tbody {
                @for (truth, walk) in align(truth, walk) {
                    tr.differs[truth != walk] {
                        td { (truth.unwrap_or("—")) } td { (walk.unwrap_or("—")) }
                        @if has_rules { td.rule { (walk.and_then(|_| rules.next()).map_or("", String::as_str)) } }
                    }
                }
                @if truth.is_empty() && walk.is_empty() { tr { td { "no caller" } td { "no caller" } } }
            }
        }
    }
}

/// Pairs of entries: what is in both stands side by side.
fn align<'f>(truth: &'f [String], walk: &'f [String]) -> Vec<(Option<&'f str>, Option<&'f str>)> {
    let mut pairs = Vec::new();
    let (mut truth, mut walk) = (truth, walk);
    while let (Some((here, older)), Some((found, rest))) = (truth.split_first(), walk.split_first()) {
        let in_walk = walk.iter().position(|entry| entry == here);
        let in_truth = truth.iter().position(|entry| entry == found);
        match (in_walk, in_truth) {
            (Some(0), _) => {
                pairs.push((Some(here.as_str()), Some(found.as_str())));
                (truth, walk) = (older, rest);
            }
            (None, None) => {
                pairs.push((Some(here.as_str()), Some(found.as_str())));
                (truth, walk) = (older, rest);
            }
            (None, Some(_)) => {
                pairs.push((Some(here.as_str()), None));
                truth = older;
            }
            (Some(_), _) => {
                pairs.push((None, Some(found.as_str())));
                walk = rest;
            }
        }
    }
    pairs.extend(truth.iter().map(|entry| (Some(entry.as_str()), None)));
    pairs.extend(walk.iter().map(|entry| (None, Some(entry.as_str()))));
    pairs
}

fn words(finding: &Finding) -> Markup {
    let words = &finding.first.words;
    html! {
        @if !words.is_empty() {
            details.words {
                summary { (count(words.len() as u64, "word", "words")) " of memory that the walk read: after how many entries, where, what" }
                pre tabindex="0" { @for word in words { (word_read(word)) } }
            }
        }
    }
}

/// A line: after how many entries the word was read, where it is, and its value.
fn word_read(word: &WordRead) -> String {
    let value = word.value.as_ref().map_or("could not be read", |value| value.as_str());
    format!("{:<3} {}  {value}\n", word.entries, word.at)
}

/// Where else a deviation happens: one line for each unwinder, verdict and place, with the runs that share it.
fn places(found: &[Found<'_>]) -> Markup {
    type Key = (String, String, String);
    let mut lines: BTreeMap<Key, (u64, Vec<Found<'_>>)> = BTreeMap::new();
    for (section, finding) in found {
        let key = (finding.range.to_string(), finding.label(), finding.verdict.to_string());
        let line = lines.entry(key).or_default();
        line.0 += finding.count;
        line.1.push((section, finding));
    }
    let width = lines.keys().map(|(range, ..)| range.len()).max().unwrap_or(0);
    html! {
        @if found.len() > 1 {
            details.places {
                summary { "everywhere: " (count(lines.len() as u64, "place", "places")) }
                pre tabindex="0" {
                    @for ((range, label, verdict), (walks, found)) in &lines {
                        (format!("{range:<width$}  {label}  {verdict}  {walks} walks  {}\n", runs(found)))
                    }
                }
            }
        }
    }
}

/// The runs of findings: variants, each with its kinds.
fn runs(found: &[Found<'_>]) -> String {
    let mut variants: Vec<(&str, Vec<&str>)> = Vec::new();
    for (section, _) in found {
        let (variant, kind) = (section.variant.as_deref().unwrap_or_default(), section.interrupt.name());
        match variants.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, kinds)) if !kinds.contains(&kind) => kinds.push(kind),
            Some(_) => {}
            None => variants.push((variant, vec![kind])),
        }
    }
    let each = variants.iter().map(|(variant, kinds)| match *variant {
        "" => kinds.join(", "),
        _ => format!("{variant}: {}", kinds.join(", ")),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Unsound walks of unwinders of which nothing is demanded: how many, and where the first one is.
fn exempt(scenario: &Scenario<'_>) -> Markup {
    let mut by_unwinder: Vec<(&str, u64, Found<'_>)> = Vec::new();
    for section in &scenario.sections {
        let is_exempt = |finding: &&Finding| finding.novelty == Some(Novelty::Exempt) && finding.verdict.is_unsound();
        for finding in section.findings.iter().filter(is_exempt) {
            match by_unwinder.iter_mut().find(|(name, ..)| *name == finding.subject) {
                Some((_, walks, _)) => *walks += finding.count,
                None => by_unwinder.push((&finding.subject, finding.count, (section, finding))),
            }
        }
    }
    let all: u64 = by_unwinder.iter().map(|(_, walks, _)| walks).sum();
    html! {
        @if all > 0 {
            details.finding.exempt {
                summary { span.badge.exempt { "◇ exempt" } " Unsound, but the scenario demands nothing of these unwinders " span.where { (count(all, "walk", "walks")) } }
                @for (name, walks, (section, finding)) in &by_unwinder {
                    p { code { (name) } ": " (count(*walks, "walk", "walks")) "; the first: " code { (finding.verdict) } " at " code { (finding.range.to_string()) } ", " (section.title()) }
                    (copyable(&section.explain_command(&finding.first.point, &finding.subject)))
                }
            }
        }
    }
}

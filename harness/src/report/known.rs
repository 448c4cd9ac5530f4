//! What broke a gate, as `[[known]]` blocks that can be pasted into the scenario.

use std::fmt::Write as _;

use crate::recording::{Novelty, Section};

/// What stands in the place of the reason, which nobody else can give.
const BECAUSE: &str = "write here why it must be so";

/// Findings that one block lists.
#[derive(PartialEq, Eq)]
struct Block {
    unwinder: String,
    verdict: String,
    at: Vec<String>,
    /// The kind of interruption; `None`: every kind of the variant has these.
    interrupt: Option<&'static str>,
    /// The variants; none: the scenario has none.
    variants: Vec<String>,
}

/// The blocks for what is new in the sections of one scenario; nothing if nothing is.
#[must_use]
pub fn blocks(sections: &[&Section]) -> String {
    let mut blocks: Vec<Block> = Vec::new();
    let mut done: Vec<Option<&str>> = Vec::new();
    for section in sections {
        let variant = section.variant.as_deref();
        if done.contains(&variant) {
            continue;
        }
        done.push(variant);
        let of_variant: Vec<&Section> =
            sections.iter().copied().filter(|other| other.variant.as_deref() == variant).collect();
        for block in of_kinds(&of_variant) {
            let is_same = |other: &&mut Block| {
                (&other.unwinder, &other.verdict, &other.at, other.interrupt)
                    == (&block.unwinder, &block.verdict, &block.at, block.interrupt)
            };
            match blocks.iter_mut().find(is_same) {
                Some(other) => other.variants.extend(block.variants),
                None => blocks.push(block),
            }
        }
    }
    let texts: Vec<String> = blocks.iter().map(text).collect();
    texts.join("\n")
}

/// The blocks of one variant: what all its kinds have is in one.
fn of_kinds(sections: &[&Section]) -> Vec<Block> {
    let all: Vec<Vec<Block>> = sections.iter().map(|section| of_section(section)).collect();
    let mut blocks: Vec<Block> = Vec::new();
    for block in all.iter().flatten() {
        let has = |others: &&Vec<Block>| others.iter().any(|other| is_alike(other, block));
        let is_everywhere = all.iter().filter(has).count() == all.len();
        let interrupt = block.interrupt.filter(|_| !is_everywhere);
        if !blocks.iter().any(|other| is_alike(other, block) && other.interrupt == interrupt) {
            let Block { unwinder, verdict, at, variants, .. } = block;
            let (unwinder, verdict, at, variants) = (unwinder.clone(), verdict.clone(), at.clone(), variants.clone());
            blocks.push(Block { unwinder, verdict, at, interrupt, variants });
        }
    }
    blocks
}

fn is_alike(one: &Block, other: &Block) -> bool {
    (&one.unwinder, &one.verdict, &one.at) == (&other.unwinder, &other.verdict, &other.at)
}

fn of_section(section: &Section) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for finding in section.findings.iter().filter(|finding| finding.novelty == Some(Novelty::New)) {
        let (label, verdict, range) = (finding.label(), finding.verdict.to_string(), finding.range.to_string());
        match blocks.iter_mut().find(|block| block.unwinder == label && block.verdict == verdict) {
            // Where an interruption is masked at some arrivals, there are two findings of one range.
            Some(block) if block.at.contains(&range) => {}
            Some(block) => block.at.push(range),
            None => blocks.push(Block {
                unwinder: label,
                verdict,
                at: vec![range],
                interrupt: Some(section.interrupt.name()),
                variants: section.variant.iter().cloned().collect(),
            }),
        }
    }
    blocks
}

/// A string, or a list of them.
fn one_or_many(values: &[String]) -> String {
    match values {
        [one] => format!("{one:?}"),
        many => format!("{many:?}"),
    }
}

fn text(block: &Block) -> String {
    let Block { unwinder, verdict, at, interrupt, variants } = block;
    let mut text = format!("[[known]]\nunwinder = {unwinder:?}\nat = {}\nverdict = {verdict:?}\n", one_or_many(at));
    if let Some(interrupt) = interrupt {
        let _ = writeln!(text, "interrupt = {interrupt:?}");
    }
    if !variants.is_empty() {
        let _ = writeln!(text, "variant = {}", one_or_many(variants));
    }
    let _ = writeln!(text, "because = {BECAUSE:?}");
    text
}

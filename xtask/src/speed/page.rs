//! The last section of ARCHITECTURE.md, which the baseline gives.

use std::path::Path;

use super::baseline::Baseline;
use super::cases::{DELIVERED, DEPTHS};
use crate::Outcome;

const FILE: &str = "ARCHITECTURE.md";
const TITLE: &str = "## What a point costs\n";

/// The counts of the three CPUs, as `5,000 (arm64), 6,000 (riscv64), 7,000 (x86-64)`.
fn cpus(baseline: &Baseline, watch: &str, depth: &str) -> String {
    let count = |cpu: &str| {
        let count = baseline.get(&format!("point: {cpu}, {watch}, {depth}"))?;
        Some(format!("{} ({})", thousands(count), cpu.replace('_', "-")))
    };
    ["arm64", "riscv64", "x86_64"].into_iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

/// What judging costs where exceptions are delivered, as `1.63 (arm64), 1.19 (riscv64), 1.17 (x86-64)`.
fn delivered(baseline: &Baseline) -> String {
    let ratio = |cpu: &str| {
        let ratio = baseline.ratio(&format!("delivered: {cpu}, {DELIVERED}, judged"))?;
        Some(format!("{ratio:.2} ({})", cpu.replace('_', "-")))
    };
    ["arm64", "riscv64", "x86_64"].into_iter().filter_map(ratio).collect::<Vec<_>>().join(", ")
}

/// Rounded to three digits, with a comma before the last three.
fn thousands(count: f64) -> String {
    let unit = 10_f64.powf((count.log10().floor() - 2.0).max(0.0));
    let rounded = ((count / unit).round() * unit) as u64;
    if rounded < 1000 { rounded.to_string() } else { format!("{},{:03}", rounded / 1000, rounded % 1000) }
}

/// The section. It has as many lines whatever the numbers are.
fn section(baseline: &Baseline) -> String {
    let of = |watch, depth| cpus(baseline, watch, depth);
    let [shallow, deep] = DEPTHS;
    format!(
        "{TITLE}\n\
         `cargo xtask speed` counts instructions and fails on 5 % more than `harness/benches/baseline.txt` has. A probe without a walk takes\n\
         {}; with the frame-record walk and its verdict, in a loop that stores nothing,\n\
         {} on a stack of {shallow}, {} on one of {deep};\n\
         where each point differs from the one before, {}; by CFI,\n\
         {}. A delivered exception, judged, takes {} times one that is not.\n",
        of("bare", shallow),
        of("judged", shallow),
        of("judged", deep),
        of("afresh", shallow),
        of("dwarf", shallow),
        delivered(baseline),
    )
}

/// Puts the section in place of what is there.
pub(super) fn write(root: &Path, baseline: &Baseline) -> Outcome {
    let path = root.join(FILE);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let start = text.find(TITLE).ok_or_else(|| format!("{FILE} has no section {TITLE:?}"))?;
    std::fs::write(&path, text[..start].to_owned() + &section(baseline)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn counts_have_three_digits() {
        let text = |count| thousands(count);
        assert_eq!([text(42.8), text(1329.7), text(57_529.4), text(123_456.0)], ["43", "1,330", "57,500", "123,000"]);
    }

    #[test]
    fn architecture_md_says_what_the_baseline_says() {
        let text = std::fs::read_to_string(root().join(FILE)).unwrap();
        let said = &text[text.find(TITLE).unwrap()..];
        assert_eq!(said, section(&Baseline::read(&root()).unwrap()), "`cargo xtask speed --write` writes it");
    }
}

//! What is counted.

/// A case of a bench: what its `--case` takes before the length.
pub(super) struct Case {
    /// Whether `points` has it; else `sframe`.
    pub(super) is_point: bool,
    pub(super) arguments: Vec<String>,
    /// A short run and a long one.
    pub(super) lengths: (u64, u64),
}

impl Case {
    /// The name in the baseline.
    pub(super) fn name(&self) -> String {
        let what = if self.is_point { "point: " } else { "" };
        format!("{what}{}", self.arguments.join(", "))
    }
}

/// The CPUs, with the tables by which their stacks are walked besides frame records.
const CPUS: [(&str, &[&str]); 3] =
    [("arm64", &["sframe", "dwarf"]), ("riscv64", &["dwarf"]), ("x86_64", &["sframe", "dwarf"])];

/// How deep the stack is.
pub(super) const DEPTHS: [&str; 2] = ["8", "128"];

/// How many functions a section has.
const FUNCTIONS: [&str; 2] = ["1000", "100000"];

/// Everything that is counted.
pub(super) fn all() -> Vec<Case> {
    let point = |arguments: &[&str]| Case {
        is_point: true,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        // Rounds of the guest's loop.
        lengths: (200, 1200),
    };
    let mut cases = Vec::new();
    for (cpu, tables) in CPUS {
        cases.push(point(&[cpu, "empty", DEPTHS[0]]));
        cases.push(point(&[cpu, "bare", DEPTHS[0]]));
        cases.extend(DEPTHS.map(|depth| point(&[cpu, "judged", depth])));
        cases.push(point(&[cpu, "afresh", DEPTHS[0]]));
        cases.extend(tables.iter().map(|table| point(&[cpu, table, DEPTHS[0]])));
    }
    for functions in FUNCTIONS {
        let on_section = |(what, who): (&str, &str)| Case {
            is_point: false,
            arguments: [what, who, functions].map(str::to_owned).to_vec(),
            // Calls of many lookups or walks each.
            lengths: (1, 3),
        };
        let lookups = ["kunwind", "simple-frame-rs"].map(|who| ("lookup", who));
        let walks = ["kunwind", "kunwind, rows cached", "framehop, rules cached"].map(|who| ("walk, a frame", who));
        let in_cfi = ["kunwind", "gimli"].map(|who| ("lookup in CFI", who));
        // framehop's walk is by CFI, too, and the same for both.
        let by_cfi = ["kunwind", "kunwind, rows cached", "gimli"].map(|who| ("walk by CFI, a frame", who));
        cases.extend([&lookups[..], &walks, &in_cfi, &by_cfi].concat().into_iter().map(on_section));
    }
    cases
}

/// The case to which a case's ratio is: an empty hook, or what kunwind does without a cache.
pub(super) fn unit(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("point: ") {
        let cpu = rest.split(", ").next()?;
        return Some(format!("point: {cpu}, empty, {}", DEPTHS[0]));
    }
    let (what, _) = name
        .split_once(", kunwind")
        .or_else(|| name.split_once(", simple"))
        .or_else(|| name.split_once(", framehop"))
        .or_else(|| name.split_once(", gimli"))?;
    let (_, functions) = name.rsplit_once(", ")?;
    Some(format!("{what}, kunwind, {functions}"))
}

#[cfg(test)]
mod tests {
    use super::{all, unit};

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_unit_that_is_a_case() {
        let names: Vec<String> = all().iter().map(super::Case::name).collect();
        for (place, name) in names.iter().enumerate() {
            assert!(!names[..place].contains(name), "{name}");
            assert!(names.contains(&unit(name).unwrap()), "{name}: {:?}", unit(name));
        }
    }
}

//! What is counted.

/// The benches that have cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bench {
    /// Probes, at each instruction.
    Points,
    /// Delivered exceptions. A count has a share of what a run costs besides.
    Delivery,
    /// Lookups in unwind data, and walks by them.
    Sframe,
}

impl Bench {
    pub(super) const ALL: [Self; 3] = [Self::Points, Self::Delivery, Self::Sframe];

    /// What `cargo bench` takes.
    pub(super) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Points => &["--bench", "points"],
            Self::Delivery => &["--bench", "delivery"],
            Self::Sframe => &["--package", "kunwind", "--features", "alloc", "--bench", "sframe"],
        }
    }
}

/// A case of a bench: what its `--case` takes before the length.
pub(super) struct Case {
    pub(super) bench: Bench,
    pub(super) arguments: Vec<String>,
    /// A short run and a long one.
    pub(super) lengths: (u64, u64),
}

impl Case {
    /// The name in the baseline.
    pub(super) fn name(&self) -> String {
        let what = match self.bench {
            Bench::Points => "point: ",
            Bench::Delivery => "delivered: ",
            Bench::Sframe => "",
        };
        format!("{what}{}", self.arguments.join(", "))
    }
}

/// The CPUs, with the tables by which their stacks are walked besides frame records.
const CPUS: [(&str, &[&str]); 3] =
    [("arm64", &["sframe", "dwarf"]), ("riscv64", &["dwarf"]), ("x86_64", &["sframe", "dwarf"])];

/// How deep the stack is.
pub(super) const DEPTHS: [&str; 2] = ["8", "128"];

/// The scenario whose exceptions are delivered: that with the most.
pub(super) const DELIVERED: &str = "fault_in_irq";

/// How many functions a section has.
const FUNCTIONS: [&str; 2] = ["1000", "100000"];

/// Everything that is counted.
pub(super) fn all() -> Vec<Case> {
    let point = |arguments: &[&str]| Case {
        bench: Bench::Points,
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
    for (cpu, _) in CPUS {
        cases.extend(["bare", "judged"].map(|way| Case {
            bench: Bench::Delivery,
            arguments: [cpu, DELIVERED, way].map(str::to_owned).to_vec(),
            // Runs.
            lengths: (1, 2),
        }));
    }
    for functions in FUNCTIONS {
        let on_section = |(what, who): (&str, &str)| Case {
            bench: Bench::Sframe,
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

/// The case to which a case's ratio is: an empty hook, a delivery without walks, or what kunwind does without a cache.
pub(super) fn unit(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("point: ") {
        let cpu = rest.split(", ").next()?;
        return Some(format!("point: {cpu}, empty, {}", DEPTHS[0]));
    }
    if let Some(rest) = name.strip_prefix("delivered: ") {
        let (of, _) = rest.rsplit_once(", ")?;
        return Some(format!("delivered: {of}, bare"));
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

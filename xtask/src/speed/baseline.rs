//! The checked-in counts: lines with the versions of what compiles and counts and with the CPU, then a line for each case.

use std::path::Path;

use super::cases::unit;
use crate::Outcome;

/// Where it is.
pub(super) const FILE: &str = "harness/benches/baseline.txt";

/// What `--version` says of rustc, gcc and valgrind, and the name of the CPU. With others, the instructions are others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Versions(pub(super) Vec<String>);

impl Versions {
    const COUNT: usize = 4;
}

/// Instructions for each point, lookup or frame, by the names of cases.
#[derive(Debug)]
pub(super) struct Baseline {
    pub(super) versions: Versions,
    pub(super) counts: Vec<(String, f64)>,
}

impl Baseline {
    /// What is checked in; empty if there is nothing.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let path = root.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|reason| format!("{}: {reason}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::parse(""),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let versions = Versions(lines.by_ref().take(Versions::COUNT).map(str::to_owned).collect());
        let count = |(index, line): (usize, &str)| {
            // The ratio is for readers.
            let mut fields = line.splitn(3, '\t');
            let count = fields.next().and_then(|count| count.parse().ok());
            let name = fields.nth(1).map(str::to_owned);
            name.zip(count)
                .ok_or_else(|| format!("line {} is not a count, a ratio and a name", index + Versions::COUNT + 1))
        };
        Ok(Self { versions, counts: lines.enumerate().map(count).collect::<Result<_, _>>()? })
    }

    fn text(&self) -> String {
        let mut text: String = self.versions.0.iter().map(|version| format!("{version}\n")).collect();
        for (name, count) in &self.counts {
            let ratio = self.ratio(name).map_or(String::new(), |ratio| format!("{ratio:.2}"));
            text += &format!("{count:.1}\t{ratio}\t{name}\n");
        }
        text
    }

    pub(super) fn write(&self, root: &Path) -> Outcome {
        let path = root.join(FILE);
        std::fs::write(&path, self.text()).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    /// How many times as many instructions as the case's unit.
    pub(super) fn ratio(&self, name: &str) -> Option<f64> {
        Some(self.get(name)? / self.get(&unit(name)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Baseline;
    use crate::root;

    #[test]
    fn what_is_checked_in_reads_back_with_its_ratios() {
        let text = std::fs::read_to_string(root().join(super::FILE)).unwrap();
        let baseline = Baseline::parse(&text).unwrap();
        let names: Vec<String> = super::super::cases::all().iter().map(super::super::cases::Case::name).collect();
        assert_eq!(baseline.counts.iter().map(|(name, _)| name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        // The counts are rounded; so a ratio that is computed from them can differ in its last digit.
        let digits = |text: &str| text.lines().map(|line| line.len()).collect::<Vec<_>>();
        assert_eq!(digits(&baseline.text()), digits(&text));
        assert!(baseline.versions.0[0].starts_with("rustc ") && baseline.versions.0[2].starts_with("valgrind-"));
    }

    #[test]
    fn a_line_that_is_no_count_is_named() {
        let reason = Baseline::parse("a\nb\nc\nd\n1.5\t1.00\tpoint: x\nnonsense\n").unwrap_err();
        assert!(reason.starts_with("line 6 "), "{reason}");
    }
}

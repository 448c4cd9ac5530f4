//! Open claims (docs/claims.toml), and whether a run confirms them.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::recording::{Finding, Recording, Section};
use crate::scenario::Interruption;
use crate::verdict::Verdict;
use crate::{Error, file};

/// The file of claims.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// In the order of the file.
    pub claim: Vec<Claim>,
}

/// One claim.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its id in scenarios.
    pub id: String,
    /// The claim, in words.
    pub says: String,
    /// What must hold of a kernel besides, if it does not hold of every one.
    pub condition: Option<String>,
    /// What was modelled: whose code, and which version.
    pub models: Option<String>,
    /// The configuration on which it was measured.
    pub on: Option<String>,
    /// The finding that decides it.
    pub by: Option<By>,
    /// Why nothing decides it.
    pub undecided: Option<String>,
}

/// A finding that confirms a claim if it happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// `<cpu>/<name>`.
    pub scenario: String,
    /// The variant, if the scenario has any.
    pub variant: Option<String>,
    /// The kind of interruption.
    pub interrupt: Interruption,
    /// The subject, with its start: `name@regs`.
    pub unwinder: String,
    /// The function.
    pub function: String,
    /// The offset in the function; `None`: anywhere.
    pub offset: Option<u64>,
    /// The verdict that confirms the claim.
    pub verdict: Verdict,
}

impl By {
    /// Whether this is the run that decides.
    #[must_use]
    pub fn is_of(&self, section: &Section) -> bool {
        section.scenario == self.scenario && section.variant == self.variant && section.interrupt == self.interrupt
    }

    /// Whether it is this finding.
    fn is(&self, finding: &Finding) -> bool {
        finding.label() == self.unwinder && finding.range.function == self.function && finding.verdict == self.verdict
    }

    /// How often it happens in the function, in a section: distinct instructions, and walks.
    #[must_use]
    pub fn count(&self, section: &Section) -> (usize, u64) {
        let found = || section.findings.iter().filter(|finding| self.is(finding));
        let instructions: BTreeSet<u64> = found().flat_map(|finding| section.offsets(finding)).collect();
        (instructions.len(), found().map(|finding| finding.count).sum())
    }

    /// Why the run that decides is not in the recording, if it is not.
    fn missing(&self, recording: &Recording) -> Option<String> {
        match recording.sections.iter().find(|section| self.is_of(section)) {
            Some(section) => Some(format!("its run was not judged: {}", section.not_judged.as_ref()?)),
            None => Some(recording.partial.as_ref()?.to_string()),
        }
    }
}

/// Whether a run confirms a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The finding happened, first at this point.
    Confirmed(String),
    /// It did not happen.
    Refuted,
    /// Nothing decides it, for this reason.
    Undecided(String),
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Confirmed(_) => "confirmed",
            Self::Refuted => "refuted",
            Self::Undecided(_) => "undecided",
        }
    }
}

impl Claims {
    /// Reads `docs/claims.toml` below `root`.
    ///
    /// # Errors
    ///
    /// [`Error::File`] and [`Error::Scenario`], with line and column where it is malformed.
    pub fn load(root: &Path) -> Result<Self, Error> {
        let path = root.join("docs").join("claims.toml");
        file::require_inside(root, &path)?;
        let text = file::read_text(&path)?;
        toml::from_str(&text).map_err(|error| Error::Scenario { path, reason: error.to_string().trim_end().to_owned() })
    }
}

impl Claims {
    /// Requires that the file has all of these claims.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn require(&self, ids: &[String]) -> Result<(), Error> {
        let is_here = |id: &&String| self.claim.iter().any(|claim| claim.id == **id);
        let Some(unknown) = ids.iter().find(|id| !is_here(id)) else { return Ok(()) };
        let known: Vec<&str> = self.claim.iter().map(|claim| claim.id.as_str()).collect();
        Err(Error::Usage(format!("{unknown:?} is not in docs/claims.toml, which has {}", known.join(", "))))
    }
}

impl Claim {
    /// Whether a run confirms the claim.
    #[must_use]
    pub fn outcome(&self, recording: &Recording) -> Outcome {
        let Some(by) = &self.by else { return Outcome::Undecided(self.undecided.clone().unwrap_or_default()) };
        if let Some(reason) = by.missing(recording) {
            return Outcome::Undecided(reason);
        }
        let sections = || recording.sections.iter().filter(|section| by.is_of(section) && section.void.is_none());
        let is_judged = sections().any(|section| {
            let column = section.columns.iter().position(|column| column.label() == by.unwinder);
            let functions = section.functions.iter().filter(|function| function.name == by.function);
            let mut lines = functions.flat_map(|function| &function.instructions);
            column.is_some_and(|column| lines.any(|line| line.runs.get(column).is_some_and(|runs| !runs.is_empty())))
        });
        if !is_judged {
            let By { scenario, unwinder, function, .. } = by;
            return Outcome::Undecided(format!(
                "{unwinder} makes no walk in {function} of {scenario}: correct the claim"
            ));
        }
        let mut findings = sections().flat_map(|section| &section.findings);
        let shown = findings.find(|finding| {
            by.is(finding)
                && by.offset.is_none_or(|offset| (finding.range.first..=finding.range.last).contains(&offset))
        });
        let is_cut = sections().any(|section| section.interrupted);
        let not_shown =
            if is_cut { Outcome::Undecided("its run was interrupted".to_owned()) } else { Outcome::Refuted };
        shown.map_or(not_shown, |finding| match by.offset {
            Some(offset) if offset != finding.range.first => {
                Outcome::Confirmed(format!("{}+{offset:#x}#1", by.function))
            }
            _ => Outcome::Confirmed(format!(
                "{}+{:#x}#{}",
                finding.range.function, finding.range.first, finding.first.visit
            )),
        })
    }
}

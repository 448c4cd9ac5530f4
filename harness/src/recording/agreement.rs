//! Whether our re-implementation of a kernel's walk gives what the kernel's own code gives, at every point.

use std::ops::ControlFlow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cpu::{CodeAddress, Cpu};
use crate::experiment::{Arrival, Column};
use crate::guest::Symbols;
use crate::subject::{Claim, MAX_ENTRIES, OwnForm, Question, Scope, model_of};

/// Stands for the model where walks are compared with those that a frozen case records.
pub const RECORDED: &str = "the recorded walk";

/// Two subjects that must give the same: a kernel's own unwinder, and our model of it, from one start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// The column of the kernel's own.
    pub own: String,
    /// The column of the model.
    pub model: String,
    /// At how many points both were asked.
    pub points: u64,
    /// At how many of these they differ, in an entry or in the claim.
    pub differ: u64,
    /// The first such point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Disagreement>,
}

/// A point at which a kernel's walk and the model's differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// Its name.
    pub point: String,
    /// The kernel's trace, without the start, and its claim.
    pub own: Vec<String>,
    /// The model's.
    pub model: Vec<String>,
}

/// A walk as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    entries: Vec<CodeAddress>,
    is_reliable: bool,
}

impl Trace {
    fn of(column: &Column<'_>, question: &Question<'_>) -> Self {
        let mut entries = Vec::new();
        let outcome = column.subject.walk(&Question { why: None, ..*question }, &mut |entry| {
            entries.push(entry.pc);
            if entries.len() < MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Self { entries, is_reliable: outcome.claim == Claim::Reliable }
    }

    /// Whether both name the same addresses and claim the same. How an address is to be looked up is not part of a kernel's trace.
    fn agrees(&self, other: &Self) -> bool {
        let values = |trace: &Self| trace.entries.iter().map(|entry| entry.value()).collect::<Vec<_>>();
        self.is_reliable == other.is_reliable && values(self) == values(other)
    }

    fn names(&self, symbols: &Symbols) -> Vec<String> {
        let claim = if self.is_reliable { "claimed reliable" } else { "not claimed" };
        let entries = self.entries.iter().skip(1).map(|pc| symbols.name_of_return(pc.value()));
        entries.chain([claim.to_owned()]).collect()
    }
}

/// Two columns that are compared.
#[derive(Debug)]
struct Pair {
    own: usize,
    model: usize,
    /// The kernel's walk at the latest point.
    latest: Option<(Arrival, Trace)>,
    /// Whether the kernel's walk gives no trace where it gives up: its caller sees an error and nothing else.
    all_or_nothing: bool,
    found: Agreement,
}

/// Compares the columns of one run.
#[derive(Debug)]
pub(super) struct Comparison {
    pairs: Vec<Pair>,
}

impl Comparison {
    /// The pairs among these columns.
    pub(super) fn new(columns: &[Column<'_>], cpu: &Cpu) -> Self {
        let model = |own: &Column<'_>| {
            let name = model_of(own.subject.about(), cpu)?;
            columns.iter().find(|column| column.subject.about().name == name && column.start == own.start)
        };
        let pair = |own: &Column<'_>| {
            let model = model(own)?;
            let found = Agreement { own: own.label(), model: model.label(), points: 0, differ: 0, first: None };
            let all_or_nothing = own.subject.about().scope == Scope::Own(OwnForm::SaveReliable);
            Some(Pair { own: own.index, model: model.index, latest: None, all_or_nothing, found })
        };
        Self { pairs: columns.iter().filter_map(pair).collect() }
    }

    /// Whether anything is compared.
    pub(super) const fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// A walk of a column is due. A kernel's columns come first.
    pub(super) fn walk(
        &mut self,
        at: Arrival,
        within: Option<&str>,
        column: &Column<'_>,
        question: &Question<'_>,
        symbols: &Symbols,
    ) {
        for pair in &mut self.pairs {
            if pair.own == column.index {
                pair.latest = Some((at, Trace::of(column, question)));
            } else if pair.model == column.index
                && let Some((_, own)) = pair.latest.take().filter(|(of, _)| *of == at)
            {
                let model = Trace::of(column, question);
                pair.found.points += 1;
                let both_give_up = pair.all_or_nothing && !own.is_reliable && !model.is_reliable;
                if both_give_up || own.agrees(&model) {
                    continue;
                }
                pair.found.differ += 1;
                let outer = within.map(|outer| format!("{outer}/")).unwrap_or_default();
                pair.found.first.get_or_insert_with(|| Disagreement {
                    point: format!("{outer}{}#{}", symbols.name(at.pc), at.visit),
                    own: own.names(symbols),
                    model: model.names(symbols),
                });
            }
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> Vec<Agreement> {
        self.pairs.into_iter().map(|pair| pair.found).collect()
    }
}

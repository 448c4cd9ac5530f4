//! Rows of unwinders, in as many columns as fit.

use anstyle::Style;

use crate::analysis::summary::{Row, Share, Standing};
use crate::report::line::clipped;
use crate::report::style::{BAD, DIM, GOOD, NOTE};

/// A column: its head, and what a row has in it.
struct Column {
    head: &'static str,
    /// The lower, the sooner it is left out; 0 never is.
    rank: u8,
    cell: fn(&Row) -> String,
}

const COLUMNS: [Column; 9] = [
    Column { head: "walks", rank: 0, cell: |row| row.counters.walks.to_string() },
    Column { head: "at", rank: 3, cell: |row| row.instructions.to_string() },
    Column { head: "unsound", rank: 0, cell: unsound },
    Column { head: "at", rank: 4, cell: |row| claimed(row, row.unsound_instructions as u64) },
    Column { head: "asked for", rank: 6, cell: asked_for },
    Column { head: "overstated", rank: 1, cell: |row| claimed(row, row.counters.overstated) },
    Column { head: "complete", rank: 0, cell: |row| tenths(row.complete()) },
    Column { head: "worst", rank: 5, cell: |row| whole(row.worst) },
    Column { head: "best", rank: 2, cell: |row| whole(row.best) },
];

/// What the columns are.
const LEGEND: &str =
    "  at: distinct instructions; complete: right to the end; worst, best: of its runs; --all: each run";

/// The same of one of them.
const ASKED: &str = "  asked for: unsound, of the walks that Linux or a debugger asks for";

/// The least width of names.
const SHORTEST: usize = 12;

fn unsound(row: &Row) -> String {
    match (row.counters.crashed, row.counters.timed_out) {
        (0, 0) => claimed(row, row.counters.unsound),
        (0, timed_out) => format!("{timed_out} %"),
        (crashed, 0) => format!("{crashed} #"),
        (crashed, timed_out) => format!("{} #%", crashed + timed_out),
    }
}

/// How many are unsound of the walks that somebody asks for.
fn asked_for(row: &Row) -> String {
    match row.asked {
        0 => "-".to_owned(),
        _ if !row.claims && row.asked_unsound == 0 => "n/a".to_owned(),
        asked => format!("{}/{asked}", row.asked_unsound),
    }
}

/// What means nothing of an unwinder that claims nothing.
fn claimed(row: &Row, number: u64) -> String {
    if row.claims || number > 0 { number.to_string() } else { "n/a".to_owned() }
}

fn tenths(share: Option<Share>) -> String {
    share.map_or("-".to_owned(), |share| format!("{}.{}%", share.per_mille() / 10, share.per_mille() % 10))
}

fn whole(share: Option<Share>) -> String {
    share.map_or("-".to_owned(), |share| format!("{}%", share.per_mille() / 10))
}

/// Which columns fit and how wide each is, and how wide the names are.
pub(super) struct Shape {
    name: usize,
    columns: Vec<(&'static Column, usize)>,
}

impl Shape {
    /// For these rows, in this width.
    pub(super) fn of<'r>(rows: impl IntoIterator<Item = &'r Row>, width: usize) -> Self {
        let rows: Vec<&Row> = rows.into_iter().collect();
        let widest =
            |text: &dyn Fn(&Row) -> String| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let name = widest(&|row| row.name.clone()).max(8) + 2;
        let standing = widest(&|row| words(row.standing()).1) + 2;
        let mut columns: Vec<(&Column, usize)> =
            { COLUMNS.iter() }.map(|column| (column, widest(&column.cell).max(column.head.len()) + 1)).collect();
        let used =
            |columns: &[(&Column, usize)]| columns.iter().map(|(_, width)| width).sum::<usize>() + name + standing;
        while used(&columns) > width {
            let least = columns.iter().enumerate().filter(|(_, (column, _))| column.rank > 0);
            let Some((index, _)) = least.min_by_key(|(_, (column, _))| column.rank) else { break };
            columns.remove(index);
        }
        // Where not even these fit, names are cut.
        let name = name.min(width.saturating_sub(used(&columns) - name)).max(SHORTEST);
        Self { name, columns }
    }

    /// What the columns are that a reader may not know, and which there is no room for.
    pub(super) fn legend(&self, width: usize) -> Vec<String> {
        let asked = self.columns.iter().any(|(column, _)| column.head == "asked for").then(|| ASKED.to_owned());
        let lines = [LEGEND.to_owned()].into_iter().chain(asked);
        lines.map(|line| format!("{DIM}{}{DIM:#}", clipped(&line, width))).chain(self.left_out(width)).collect()
    }

    /// The columns for which there is no room, if there are any.
    pub(super) fn left_out(&self, width: usize) -> Option<String> {
        let is_shown = |column: &Column| self.columns.iter().any(|(shown, _)| shown.rank == column.rank);
        let heads: Vec<&str> = COLUMNS.iter().filter(|column| !is_shown(column)).map(|column| column.head).collect();
        let line = clipped(&format!("  no room for: {}", heads.join(", ")), width);
        (!heads.is_empty()).then(|| format!("{DIM}{line}{DIM:#}"))
    }

    /// The heads of the columns, after what the rows are of.
    pub(super) fn head(&self, of: &str) -> String {
        let heads = self.columns.iter().map(|(column, width)| format!("{:>width$}", column.head));
        let heads: String = heads.collect();
        format!("{of:<0$}{DIM}{heads}{DIM:#}", self.name)
    }

    /// A row.
    pub(super) fn row(&self, row: &Row) -> String {
        let cells = self.columns.iter().map(|(column, width)| format!("{:>width$}", (column.cell)(row)));
        let cells: String = cells.collect();
        let (style, standing) = words(row.standing());
        let name = format!("  {}", clipped(&row.name, self.name - 2));
        format!("{name:<0$}{cells}  {style}{standing}{style:#}", self.name)
    }
}

/// A standing in words, and how loud.
pub(super) fn words(standing: Standing) -> (Style, String) {
    match standing {
        Standing::New(walks) => (BAD, format!("NEW {walks}")),
        Standing::NotHeld => (NOTE, "not held".to_owned()),
        Standing::Expected => (Style::new(), "expected".to_owned()),
        Standing::PartlyExempt(walks) => (Style::new(), format!("{walks} no demand")),
        Standing::Exempt => (DIM, "no demand".to_owned()),
        Standing::NoWalk => (DIM, "no walk".to_owned()),
        Standing::NoClaim => (DIM, "no claim".to_owned()),
        Standing::Sound => (GOOD, "sound".to_owned()),
    }
}

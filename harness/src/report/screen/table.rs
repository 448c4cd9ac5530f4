//! Rows of unwinders, in as many columns as fit.

use anstyle::Style;

use crate::analysis::summary::{Row, Share, Standing};
use crate::report::line::clipped;
use crate::report::style::{BAD, DIM, GOOD, NOTE};

/// A column: its head, its width, and what a row has in it.
struct Column {
    head: &'static str,
    width: usize,
    /// The lower, the sooner it is left out; 0 never is.
    rank: u8,
    cell: fn(&Row) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { head: "walks", width: 7, rank: 0, cell: |row| row.counters.walks.to_string() },
    Column { head: "at", width: 6, rank: 3, cell: |row| row.instructions.to_string() },
    Column { head: "unsound", width: 8, rank: 0, cell: unsound },
    Column { head: "at", width: 6, rank: 4, cell: |row| claimed(row, row.unsound_instructions as u64) },
    Column { head: "overstated", width: 11, rank: 2, cell: |row| claimed(row, row.counters.overstated) },
    Column { head: "complete", width: 9, rank: 0, cell: |row| tenths(row.complete()) },
    Column { head: "worst", width: 6, rank: 5, cell: |row| whole(row.worst) },
    Column { head: "best", width: 5, rank: 1, cell: |row| whole(row.best) },
];

/// The least width of names.
const SHORTEST: usize = 12;

/// The least width of the last column.
const STANDING: usize = 12;

fn unsound(row: &Row) -> String {
    match (row.counters.crashed, row.counters.timed_out) {
        (0, 0) => claimed(row, row.counters.unsound),
        (0, timed_out) => format!("{timed_out} %"),
        (crashed, 0) => format!("{crashed} #"),
        (crashed, timed_out) => format!("{} #%", crashed + timed_out),
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

/// Which columns fit, and how wide the names are.
pub(super) struct Shape {
    name: usize,
    columns: Vec<&'static Column>,
}

impl Shape {
    /// For these rows, in this width.
    pub(super) fn of<'r>(rows: impl IntoIterator<Item = &'r Row>, width: usize) -> Self {
        let (mut name, mut last) = (8, STANDING);
        for row in rows {
            name = name.max(row.name.chars().count());
            last = last.max(words(row.standing()).1.len());
        }
        let name = name + 2;
        let mut columns: Vec<&Column> = COLUMNS.iter().collect();
        let used = |columns: &[&Column]| columns.iter().map(|column| column.width).sum::<usize>() + name + 2 + last;
        while used(&columns) > width {
            let least = columns.iter().enumerate().filter(|(_, column)| column.rank > 0);
            let Some((index, _)) = least.min_by_key(|(_, column)| column.rank) else { break };
            columns.remove(index);
        }
        // Where not even these fit, names are cut.
        let name = name.min(width.saturating_sub(used(&columns) - name)).max(SHORTEST);
        Self { name, columns }
    }

    /// The heads of the columns, after what the rows are of.
    pub(super) fn head(&self, of: &str) -> String {
        let heads = self.columns.iter().map(|column| format!("{:>1$}", column.head, column.width));
        let heads: String = heads.collect();
        format!("{of:<0$}{DIM}{heads}{DIM:#}", self.name)
    }

    /// A row.
    pub(super) fn row(&self, row: &Row) -> String {
        let cells = self.columns.iter().map(|column| format!("{:>1$}", (column.cell)(row), column.width));
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

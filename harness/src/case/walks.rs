//! The recorded walks of a case.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How many walks a case may record. They are shared: a row costs the names of its traces once.
const MAX_WALKS: usize = 1 << 20;

/// The walks of a run with one kind of interruption: each trace once, and for each point which of them each column gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walks {
    /// The kind of interruption.
    pub interrupt: String,
    /// The labels of the columns: subjects with their starts.
    pub columns: Vec<String>,
    /// The traces: claim, end, and the entries after the start.
    traces: Vec<String>,
    /// For each column the index of its trace, or `-` where it did not walk; a colon; and the points in a row that have these. Of a
    /// point in the function of the one before, only what follows the function's name is there: `+0x8#1`.
    points: Vec<String>,
}

/// A point with the trace of each column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The point's name.
    pub point: String,
    /// For each column its trace, if it walked.
    pub traces: Vec<Option<Arc<str>>>,
}

impl Walks {
    /// The walks in these rows. A point's name has no spaces in it.
    #[must_use]
    pub fn new(interrupt: String, columns: Vec<String>, rows: &[Row]) -> Self {
        let mut walks = Self { interrupt, columns, ..Self::default() };
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut latest: Option<(String, &str)> = None;
        for row in rows {
            let mut indices = Vec::new();
            for trace in &row.traces {
                indices.push(match trace {
                    None => "-".to_owned(),
                    Some(trace) => known
                        .entry(trace)
                        .or_insert_with(|| {
                            walks.traces.push(trace.to_string());
                            walks.traces.len() - 1
                        })
                        .to_string(),
                });
            }
            let (indices, point) = (indices.join(" "), row.point.as_str());
            let (function, rest) = point.split_at(point.rfind('+').unwrap_or(0));
            match (&latest, walks.points.last_mut()) {
                (Some((same, before)), Some(line)) if *same == indices => {
                    line.push(' ');
                    line.push_str(if *before == function { rest } else { point });
                }
                _ => walks.points.push(format!("{indices}: {point}")),
            }
            latest = Some((indices, function));
        }
        walks
    }

    /// The rows, in the order of the run.
    ///
    /// # Errors
    ///
    /// Which line is malformed.
    pub fn rows(&self) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for line in &self.points {
            let traces = line.split_once(": ").and_then(|(indices, points)| Some((self.of_line(indices)?, points)));
            let (columns, known) = (self.columns.len(), self.traces.len());
            let malformed = || format!("points: {line:?} does not begin with {columns} indices of {known} traces");
            let (traces, points) = traces.ok_or_else(malformed)?;
            if rows.len() + points.len() / 2 > MAX_WALKS / columns.max(1) {
                return Err(format!("points: there are more than {MAX_WALKS} walks"));
            }
            let mut function = "";
            for point in points.split(' ') {
                let name = if point.starts_with('+') { format!("{function}{point}") } else { point.to_owned() };
                function = if point.starts_with('+') { function } else { &point[..point.rfind('+').unwrap_or(0)] };
                rows.push(Row { point: name, traces: traces.clone() });
            }
        }
        Ok(rows)
    }

    /// The traces with these indices.
    fn of_line(&self, indices: &str) -> Option<Vec<Option<Arc<str>>>> {
        let trace = |index: &str| match index {
            "-" => Some(None),
            index => Some(Some(Arc::from(self.traces.get(index.parse::<usize>().ok()?)?.as_str()))),
        };
        let traces: Option<Vec<_>> = indices.split(' ').map(trace).collect();
        traces.filter(|traces| traces.len() == self.columns.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Walks};

    #[test]
    fn walks_are_read_as_they_were_written() {
        let row = |point: &str, traces: [Option<&str>; 2]| Row {
            point: point.to_owned(),
            traces: traces.map(|trace| trace.map(Into::into)).into(),
        };
        let rows = [
            row("a+0x0#1", [Some("x"), Some("y")]),
            row("a+0x4#1", [Some("x"), Some("y")]),
            row("b+0x4#1:irq/a+0x4#2", [Some("x"), Some("y")]),
            row("b+0x4#1:irq/a+0x8#1", [Some("x"), Some("y")]),
            row("b+0x8#1:irq/a+0x8#1", [Some("x"), Some("y")]),
            row("0x10#1", [Some("y"), None]),
            row("a+0x0#2", [None, None]),
        ];
        let walks = Walks::new("irq".to_owned(), vec!["one".to_owned(), "two".to_owned()], &rows);
        assert_eq!(walks.rows(), Ok(rows.to_vec()));
        assert_eq!(walks.traces, ["x", "y"]);
        let first = "0 1: a+0x0#1 +0x4#1 b+0x4#1:irq/a+0x4#2 +0x8#1 b+0x8#1:irq/a+0x8#1";
        assert_eq!(walks.points, [first, "1 -: 0x10#1", "- -: a+0x0#2"]);
        for line in ["", "a+0x0#1", "0: a+0x0#1", "0 2: a+0x0#1", "0 x: a+0x0#1", "0 0 0: a+0x0#1"] {
            assert!(Walks { points: vec![line.to_owned()], ..walks.clone() }.rows().is_err(), "{line}");
        }
    }
}

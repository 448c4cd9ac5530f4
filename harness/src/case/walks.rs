//! The recorded walks of a case.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

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
    /// A point's name, and for each column the index of its trace; `-` where it did not walk.
    points: Vec<String>,
}

/// A point with the trace of each column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The point's name.
    pub point: String,
    /// For each column its trace, if it walked.
    pub traces: Vec<Option<String>>,
}

impl Walks {
    /// The walks in these rows.
    #[must_use]
    pub fn new(interrupt: String, columns: Vec<String>, rows: &[Row]) -> Self {
        let mut walks = Self { interrupt, columns, ..Self::default() };
        let mut known: HashMap<&str, usize> = HashMap::new();
        for row in rows {
            let mut line = row.point.clone();
            for trace in &row.traces {
                line.push(' ');
                let Some(trace) = trace else {
                    line.push('-');
                    continue;
                };
                let index = *known.entry(trace).or_insert_with(|| {
                    walks.traces.push(trace.clone());
                    walks.traces.len() - 1
                });
                line.push_str(&index.to_string());
            }
            walks.points.push(line);
        }
        walks
    }

    /// The rows, in the order of the run.
    ///
    /// # Errors
    ///
    /// Which line is malformed.
    pub fn rows(&self) -> Result<Vec<Row>, String> {
        self.points.iter().map(|line| self.row(line).ok_or_else(|| self.malformed(line))).collect()
    }

    fn malformed(&self, line: &str) -> String {
        let (columns, traces) = (self.columns.len(), self.traces.len());
        format!("points: {line:?} is not a point and {columns} indices of {traces} traces")
    }

    fn row(&self, line: &str) -> Option<Row> {
        // A name may have spaces in it.
        let mut parts: Vec<&str> = line.rsplitn(self.columns.len() + 1, ' ').collect();
        let point = parts.pop().filter(|_| parts.len() == self.columns.len())?.to_owned();
        let trace = |index: &str| match index {
            "-" => Some(None),
            index => Some(Some(self.traces.get(index.parse::<usize>().ok()?)?.clone())),
        };
        let traces = parts.into_iter().rev().map(trace).collect::<Option<_>>()?;
        Some(Row { point, traces })
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Walks};

    #[test]
    fn walks_are_read_as_they_were_written() {
        let row = |point: &str, traces: [Option<&str>; 2]| Row {
            point: point.to_owned(),
            traces: traces.map(|trace| trace.map(str::to_owned)).into(),
        };
        let rows =
            [row("a+0x0#1", [Some("x"), Some("y")]), row("b b+0x4#2", [Some("y"), None]), row("a+0x0#2", [None, None])];
        let walks = Walks::new("irq".to_owned(), vec!["one".to_owned(), "two".to_owned()], &rows);
        assert_eq!(walks.rows(), Ok(rows.to_vec()));
        assert_eq!(walks.traces, ["x", "y"]);
        for line in ["", "a", "a+0x0#1 0", "a+0x0#1 0 2", "a+0x0#1 0 x"] {
            assert!(Walks { points: vec![line.to_owned()], ..walks.clone() }.rows().is_err(), "{line}");
        }
    }
}

//! Two lists of events side by side.

use super::body::Event;

/// One line: an event of both, or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The mimic's.
    pub mimic: Option<Event>,
    /// The image's.
    pub image: Option<Event>,
}

impl Row {
    /// Whether both have it.
    #[must_use]
    pub const fn is_equal(&self) -> bool {
        self.mimic.is_some() && self.image.is_some()
    }
}

/// A longest common subsequence, by [`Event::key`]; what only one has stands between, the mimic's first.
pub(super) fn align(mimic: Vec<Event>, image: Vec<Event>) -> Vec<Row> {
    let width = image.len() + 1;
    // The length of the longest common subsequence of what is left of both.
    let mut longest = vec![0_u32; (mimic.len() + 1) * width];
    for left in (0..mimic.len()).rev() {
        for right in (0..image.len()).rev() {
            longest[left * width + right] = if mimic[left].key == image[right].key {
                longest[(left + 1) * width + right + 1] + 1
            } else {
                longest[(left + 1) * width + right].max(longest[left * width + right + 1])
            };
        }
    }
    let (mut left, mut right) = (0, 0);
    let mut rows = Vec::new();
    let (mut lefts, mut rights) = (mimic.into_iter().peekable(), image.into_iter().peekable());
    while lefts.peek().is_some() || rights.peek().is_some() {
        let same = matches!((lefts.peek(), rights.peek()), (Some(one), Some(other)) if one.key == other.key);
        let skip_left = rights.peek().is_none()
            || lefts.peek().is_some() && longest[(left + 1) * width + right] >= longest[left * width + right + 1];
        let row = if same {
            Row { mimic: lefts.next(), image: rights.next() }
        } else if skip_left {
            Row { mimic: lefts.next(), image: None }
        } else {
            Row { mimic: None, image: rights.next() }
        };
        left += usize::from(row.mimic.is_some());
        right += usize::from(row.image.is_some());
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{Event, align};

    fn events(keys: &str) -> Vec<Event> {
        let event = |key: char| Event { offset: 0, text: key.to_string(), key: key.to_string(), link: None };
        keys.chars().map(event).collect()
    }

    #[test]
    fn what_one_lacks_stands_where_it_belongs() {
        let rows = align(events("abcd"), events("axcde"));
        let marks: String = rows
            .iter()
            .map(|row| match (&row.mimic, &row.image) {
                (Some(_), Some(_)) => '=',
                (Some(_), None) => '<',
                _ => '>',
            })
            .collect();
        assert_eq!(marks, "=<>==>");
        assert_eq!(align(events(""), events("")), []);
        assert_eq!(align(events("ab"), events("")).len(), 2);
    }
}

//! Which instruction of a function is which, after the function was changed.

use crate::recording::ListedInstruction;

/// The most pairs of instructions that are compared; longer functions are aligned by offset.
const MOST: usize = 4_000_000;

/// The pairs of instructions that are the same, or stand in each other's place, as indices: the longest common subsequence of their
/// text, and between two of its pairs those that are equally many on both sides. What is in no pair is on one side only.
pub(super) fn align(old: &[ListedInstruction], new: &[ListedInstruction]) -> Vec<(Option<usize>, Option<usize>)> {
    let same = |left: usize, right: usize| plain(&old[left].text) == plain(&new[right].text);
    let start = (0..old.len().min(new.len())).take_while(|index| same(*index, *index)).count();
    let end = (0..old.len().min(new.len()) - start)
        .take_while(|index| same(old.len() - 1 - index, new.len() - 1 - index))
        .count();
    let (left, right) = (start..old.len() - end, start..new.len() - end);
    let mut pairs: Vec<(Option<usize>, Option<usize>)> = (0..start).map(|index| (Some(index), Some(index))).collect();
    let common = if left.len().saturating_mul(right.len()) > MOST { Vec::new() } else { longest(&left, &right, same) };
    let (mut next_old, mut next_new) = (left.start, right.start);
    for (at_old, at_new) in common.into_iter().chain([(left.end, right.end)]) {
        let (gap_old, gap_new) = (next_old..at_old, next_new..at_new);
        if gap_old.len() == gap_new.len() {
            pairs.extend(gap_old.zip(gap_new).map(|(old, new)| (Some(old), Some(new))));
        } else {
            pairs.extend(gap_old.map(|old| (Some(old), None)));
            pairs.extend(gap_new.map(|new| (None, Some(new))));
        }
        if at_old < left.end {
            pairs.push((Some(at_old), Some(at_new)));
        }
        (next_old, next_new) = (at_old + 1, at_new + 1);
    }
    pairs.extend((0..end).rev().map(|index| (Some(old.len() - 1 - index), Some(new.len() - 1 - index))));
    pairs
}

/// The text without what moves when code is inserted: addresses, and the gaps between columns.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let digits = word.trim_start_matches('#').trim_start_matches("0x");
        let is_address = digits.len() > 6 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if is_address { "ADDRESS" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The longest common subsequence.
fn longest(
    left: &std::ops::Range<usize>,
    right: &std::ops::Range<usize>,
    same: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let width = right.len() + 1;
    let mut lengths = vec![0u32; (left.len() + 1) * width];
    for row in (0..left.len()).rev() {
        for column in (0..right.len()).rev() {
            lengths[row * width + column] = if same(left.start + row, right.start + column) {
                lengths[(row + 1) * width + column + 1] + 1
            } else {
                lengths[(row + 1) * width + column].max(lengths[row * width + column + 1])
            };
        }
    }
    let (mut row, mut column, mut pairs) = (0, 0, Vec::new());
    while row < left.len() && column < right.len() {
        if same(left.start + row, right.start + column) {
            pairs.push((left.start + row, right.start + column));
            (row, column) = (row + 1, column + 1);
        } else if lengths[(row + 1) * width + column] >= lengths[row * width + column + 1] {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::align;
    use crate::recording::{ListedInstruction, Shared};

    fn code(texts: &[&str]) -> Vec<ListedInstruction> {
        let one = |(index, text): (usize, &&str)| ListedInstruction {
            offset: index as u64 * 4,
            text: (*text).to_owned(),
            visits: 1,
            split: false,
            addresses: Shared::default(),
            runs: Shared::default(),
        };
        texts.iter().enumerate().map(one).collect()
    }

    fn aligned(old: &[&str], new: &[&str]) -> Vec<(Option<usize>, Option<usize>)> {
        align(&code(old), &code(new))
    }

    #[test]
    fn an_inserted_instruction_is_on_one_side() {
        let pairs = aligned(&["a", "b", "c"], &["a", "x", "b", "c"]);
        assert_eq!(pairs, [(Some(0), Some(0)), (None, Some(1)), (Some(1), Some(2)), (Some(2), Some(3))]);
    }

    #[test]
    fn a_replaced_instruction_stands_in_the_place_of_the_other() {
        assert_eq!(aligned(&["a", "b", "c"], &["a", "x", "c"])[1], (Some(1), Some(1)));
        assert_eq!(aligned(&[], &["a"]), [(None, Some(0))]);
        assert_eq!(aligned(&["a", "a"], &["a"]).len(), 2);
    }

    #[test]
    fn a_branch_target_that_moved_makes_no_difference() {
        assert_eq!(
            aligned(&["bl #0xffff800080000010", "a"], &["x", "bl  #0xffff800080000014", "a"])[1],
            (Some(0), Some(1))
        );
    }
}

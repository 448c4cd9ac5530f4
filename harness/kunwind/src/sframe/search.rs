//! The search in a sorted index, whatever its entries are.

/// The last of `count` sorted starts that is at or before a pc; 0 if none is. It takes the same number of steps whatever the answers are.
///
/// Two steps of a binary search are taken at once: a large index is not in a cache, and memory gives three words as soon as one. What
/// they answer cannot be foreseen, so no branch depends on it.
#[inline]
pub(super) fn last_at_or_before<E>(
    mut count: usize,
    mut is_at_or_before: impl FnMut(usize) -> Result<bool, E>,
) -> Result<usize, E> {
    let mut low = 0;
    while count > 3 {
        let quarter = count / 4;
        let passed =
            [is_at_or_before(low + quarter)?, is_at_or_before(low + 2 * quarter)?, is_at_or_before(low + 3 * quarter)?];
        low += quarter * passed.into_iter().map(usize::from).sum::<usize>();
        count -= 3 * quarter;
    }
    while count > 1 {
        let half = count / 2;
        low += half * usize::from(is_at_or_before(low + half)?);
        count -= half;
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::last_at_or_before;

    #[test]
    fn it_finds_what_a_plain_search_finds() {
        for count in 0..70_usize {
            // The starts are 1, 3, 5, ...
            for pc in 0..2 * count + 2 {
                let starts: [usize; 70] = core::array::from_fn(|index| 2 * index + 1);
                let plain = starts[..count].iter().rposition(|start| *start <= pc).unwrap_or(0);
                let found =
                    last_at_or_before(count, |index| starts[..count].get(index).map(|start| *start <= pc).ok_or(()));
                assert_eq!(found, Ok(plain), "{pc} among {count}");
            }
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_ends_it() {
        assert_eq!(last_at_or_before(5, |index| if index == 3 { Err("broken") } else { Ok(true) }), Err("broken"));
    }
}

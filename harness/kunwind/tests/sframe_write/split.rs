//! A section of version 3 cut into its functions, without looking into rows.

/// A function: its place in the index, what its start field holds, and its other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The offset of its start field.
    pub(crate) field: usize,
    pub(crate) start: i64,
    pub(crate) size: u32,
    /// The attribute with the rows.
    pub(crate) rows: Vec<u8>,
}

/// The flags, and the functions in the order of the index.
pub(crate) fn split(bytes: &[u8], is_big_endian: bool) -> (u8, Vec<Piece>) {
    let word = |at: usize, size: usize| {
        let mut value = bytes[at..at + size].to_vec();
        if is_big_endian {
            value.reverse();
        }
        value.resize(8, 0);
        u64::from_le_bytes(value.try_into().expect("8 bytes"))
    };
    let small = |at| usize::try_from(word(at, 4)).expect("a count");
    assert_eq!((word(0, 2), bytes[2], bytes[7]), (0xdee2, 3, 0));
    let (count, length, index, fres) = (small(8), small(16), 28 + small(20), 28 + small(24));
    assert_eq!(bytes.len(), fres + length);
    let offset = |number: usize| small(index + 16 * number + 12);
    let mut ends: Vec<usize> = (0..count).map(offset).collect();
    ends.push(length);
    ends.sort_unstable();
    let pieces = (0..count).map(|number| {
        let field = index + 16 * number;
        let start = offset(number);
        let end = *ends.iter().find(|end| **end > start).expect("an end");
        let size = u32::try_from(small(field + 8)).expect("a size");
        let rows = bytes[fres + start..fres + end].to_vec();
        Piece { field, start: word(field, 8).cast_signed(), size, rows }
    });
    (bytes[3], pieces.collect())
}

//! A value for each byte of code. It is looked up at every instruction, so the lookup must not search.

use super::Guest;

/// How many bytes of code are allocated together.
const CHUNK: usize = 256;

/// The values of a chunk; allocated when one of them is first looked up.
type Chunk<T> = Option<Box<[T; CHUNK]>>;

/// A value for each byte of a guest's code. Memory grows with the code that is looked up, not with all the code there is.
#[derive(Debug)]
pub struct CodeMap<T> {
    initial: T,
    ranges: Vec<(u64, Vec<Chunk<T>>)>,
}

#[cold]
#[inline(never)]
fn new_chunk<T: Clone>(initial: &T) -> Box<[T; CHUNK]> {
    Box::new(std::array::from_fn(|_| initial.clone()))
}

impl<T: Clone> CodeMap<T> {
    /// A map that holds the same value for all code.
    #[must_use]
    pub fn new(guest: &Guest, initial: T) -> Self {
        let chunks = |bytes: u64| std::iter::repeat_with(|| None).take((bytes as usize).div_ceil(CHUNK)).collect();
        let ranges = guest.text().map(|text| (text.start, chunks(text.end - text.start)));
        Self { initial, ranges: ranges.collect() }
    }

    /// The value at a code address; `None` outside the executable segments.
    #[inline]
    pub fn get_mut(&mut self, address: u64) -> Option<&mut T> {
        let Self { initial, ranges } = self;
        for (start, chunks) in ranges {
            let offset = address.wrapping_sub(*start) as usize;
            if let Some(chunk) = chunks.get_mut(offset / CHUNK) {
                let values = chunk.get_or_insert_with(|| new_chunk(initial));
                return Some(&mut values[offset % CHUNK]);
            }
        }
        None
    }
}

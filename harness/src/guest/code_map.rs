//! A value for each byte of code: what is asked at every instruction must be found without a search.

use super::Guest;

/// How many neighbouring bytes of code get their values at once.
const CHUNK: usize = 256;

/// The values of a chunk; none until one of them is asked for.
type Chunk<T> = Option<Box<[T; CHUNK]>>;

/// A value for each byte of a guest's code. Its size grows with the code that is asked about, not with the code that there is.
#[derive(Debug)]
pub struct CodeMap<T> {
    initial: T,
    ranges: Vec<(u64, Vec<Chunk<T>>)>,
}

impl<T: Clone> CodeMap<T> {
    /// The same value for all code.
    #[must_use]
    pub fn new(guest: &Guest, initial: T) -> Self {
        let chunks = |bytes: u64| std::iter::repeat_with(|| None).take((bytes as usize).div_ceil(CHUNK)).collect();
        let ranges = guest.text().map(|text| (text.start, chunks(text.end - text.start)));
        Self { initial, ranges: ranges.collect() }
    }

    /// The value at an address of code; nothing outside of the executable segments.
    pub fn get_mut(&mut self, address: u64) -> Option<&mut T> {
        let Self { initial, ranges } = self;
        for (start, chunks) in ranges {
            let offset = address.wrapping_sub(*start) as usize;
            if let Some(chunk) = chunks.get_mut(offset / CHUNK) {
                let values = chunk.get_or_insert_with(|| Box::new(std::array::from_fn(|_| initial.clone())));
                return Some(&mut values[offset % CHUNK]);
            }
        }
        None
    }
}

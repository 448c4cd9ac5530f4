//! What was found for the pcs that were asked for last. What is found, and in what, is not known here.

use core::cell::Cell;
use core::num::NonZeroU64;

/// How many pcs there is room for where their place is the same.
const WAYS: usize = 4;

/// Values by table and pc, or that there is none: `SETS` times four at most. Each pc has one set; there, a new one takes the place of the one that came
/// first.
///
/// Its owner provides the storage, and a number for each table: no two tables that the same cache is asked about have the same. What a
/// table says of a pc must not change.
pub struct PcCache<V, const SETS: usize = 128> {
    /// In each set the newest is first.
    sets: [[Slot<V>; WAYS]; SETS],
}

struct Slot<V> {
    /// The number of the table; 0 if there is nothing here.
    table: Cell<u64>,
    pc: Cell<u64>,
    value: Cell<Option<V>>,
}

impl<V> Slot<V> {
    const fn empty() -> Self {
        Self { table: Cell::new(0), pc: Cell::new(0), value: Cell::new(None) }
    }
}

impl<V: Copy, const SETS: usize> Default for PcCache<V, SETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V, const SETS: usize> core::fmt::Debug for PcCache<V, SETS> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("PcCache").finish_non_exhaustive()
    }
}

impl<V: Copy, const SETS: usize> PcCache<V, SETS> {
    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(SETS.is_power_of_two() && SETS > 1) };
        Self { sets: [const { [const { Slot::empty() }; WAYS] }; SETS] }
    }

    /// What this table has for a pc: what was found before, or else what `find` finds now.
    #[inline]
    pub fn get(&self, table: NonZeroU64, pc: u64, find: impl FnOnce() -> Option<V>) -> Option<V> {
        // 2^64 divided by the golden ratio spreads pcs that differ in any bits (Knuth, The Art of Computer Programming 3, 6.4).
        let hash = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SETS.trailing_zeros());
        let set = &self.sets[hash as usize];
        for slot in set {
            if slot.pc.get() == pc && slot.table.get() == table.get() {
                return slot.value.get();
            }
        }
        Self::put(set, table, pc, find)
    }

    #[cold]
    #[inline(never)]
    fn put(set: &[Slot<V>; WAYS], table: NonZeroU64, pc: u64, find: impl FnOnce() -> Option<V>) -> Option<V> {
        let value = find();
        let mut new = (table.get(), pc, value);
        for slot in set {
            new = (slot.table.replace(new.0), slot.pc.replace(new.1), slot.value.replace(new.2));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU64;

    use super::PcCache;

    const TABLES: [NonZeroU64; 2] = [NonZeroU64::MIN, NonZeroU64::MAX];

    #[test]
    fn what_was_found_is_found_again_and_nothing_else() {
        let cache = PcCache::<u64, 4>::new();
        // More than there is room for, and 0, which is the pc where there is nothing.
        for round in 0..3 {
            for pc in 0..64 {
                for table in TABLES {
                    let value = (pc % 3 != 0).then_some(pc ^ table.get());
                    assert_eq!(cache.get(table, pc, || value), value, "round {round}");
                }
            }
        }
        for (pc, value) in [(77, Some(5)), (78, None)] {
            assert_eq!(cache.get(TABLES[0], pc, || value), value);
            assert_eq!(cache.get(TABLES[0], pc, || unreachable!("it is known")), value);
        }
    }

    #[test]
    fn four_that_have_the_same_place_are_all_kept() {
        let cache = PcCache::<u64, 2>::new();
        // Twice as many as there are sets: five of them have the same place.
        let pcs: [u64; 9] = core::array::from_fn(|index| 0x1000 + 4 * index as u64);
        let found = |pc| {
            let mut is_new = false;
            cache.get(TABLES[0], pc, || {
                is_new = true;
                Some(pc)
            });
            is_new
        };
        for pc in pcs {
            assert!(found(pc));
            assert!(!found(pc));
        }
        let kept = pcs[1..].iter().rev().filter(|pc| !found(**pc)).count();
        assert!((4..9).contains(&kept), "{kept}");
    }
}

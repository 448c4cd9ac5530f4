//! What was found for the pcs that were asked for last. What is found, and in what, is not known here.

use core::cell::Cell;
use core::num::NonZeroU64;

/// Values by table and pc: `N` of them at most, each in the one place that its pc has, where the next one replaces it.
///
/// Its owner provides the storage, and a number for each table: no two tables that the same cache is asked about have the same. What a
/// table says of a pc must not change.
pub struct PcCache<V, const N: usize = 512> {
    slots: [Slot<V>; N],
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

impl<V: Copy, const N: usize> Default for PcCache<V, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V, const N: usize> core::fmt::Debug for PcCache<V, N> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("PcCache").finish_non_exhaustive()
    }
}

impl<V: Copy, const N: usize> PcCache<V, N> {
    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two() && N > 1) };
        Self { slots: [const { Slot::empty() }; N] }
    }

    /// What this table has for a pc: what was found before, or else what `find` finds now.
    #[inline]
    pub fn get(&self, table: NonZeroU64, pc: u64, find: impl FnOnce() -> V) -> V {
        // 2^64 divided by the golden ratio spreads pcs that differ in any bits (Knuth, The Art of Computer Programming 3, 6.4).
        let hash = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - N.trailing_zeros());
        let slot = &self.slots[hash as usize];
        if slot.table.get() == table.get()
            && slot.pc.get() == pc
            && let Some(value) = slot.value.get()
        {
            return value;
        }
        let value = find();
        slot.table.set(table.get());
        slot.pc.set(pc);
        slot.value.set(Some(value));
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
        // More than there are slots, and 0, which is the pc of an empty slot.
        for round in 0..3 {
            for pc in 0..16 {
                for table in TABLES {
                    assert_eq!(cache.get(table, pc, || pc ^ table.get()), pc ^ table.get(), "round {round}");
                }
            }
        }
        assert_eq!(cache.get(TABLES[0], 77, || 5), 5);
        assert_eq!(cache.get(TABLES[0], 77, || unreachable!("it is known")), 5);
    }
}

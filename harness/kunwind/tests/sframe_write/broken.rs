//! CFI with wrong bytes: nothing panics, and what is written all the same follows the rules.

use kunwind::dwarf::{Cfi, CfiSection, Columns, Storage, make_readable};
use kunwind::sframe::write::{Placement, from_cfi};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use super::elf::{Elf, fixture};
use super::object::OBJECTS;
use super::round_trip::{config, findings};

#[test]
fn wrong_bytes_give_reasons_or_rows_and_nothing_worse() {
    let changes = vec((any::<Index>(), any::<u8>()), 1..8);
    let cases = (select(OBJECTS.to_vec()), changes, proptest::option::weighted(0.2, any::<Index>()), any::<bool>());
    let (written, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let result = TestRunner::new(config(4000)).run(&cases, |(name, changes, cut, is_eh_frame)| {
        let file = fixture(&format!("{name}.v3.o"));
        let owned = Elf::new(&file).cfi();
        let mut bytes = owned.cfi().bytes.to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let section = if is_eh_frame { CfiSection::EhFrame } else { CfiSection::DebugFrame };
        let mut readable = bytes.clone();
        make_readable(section, &mut readable, owned.abi.is_big_endian());
        let (address, columns) = (owned.cfi().address, Columns::from(owned.abi));
        let cfi = Cfi { section, bytes: &bytes, readable: &readable, address, columns };
        let made = from_cfi(&cfi, owned.abi, Placement::Linked(0x1000)).expect("few functions");
        prop_assert!(made.refusals.is_sorted_by_key(|refusal| refusal.fde));
        let found = findings(&made.written.bytes, 0x1000, owned.abi);
        // A function may be placed anywhere, and be smaller than it has rows only for the kernel.
        prop_assert!(found.iter().all(|finding| !finding.starts_with("Spec")), "{found:?}");
        let mut storage = Storage::new();
        for function in cfi.functions().flatten() {
            let _ = cfi.lookup(function.start, &mut storage);
        }
        written.set(written.get() + made.functions.len());
        refused.set(refused.get() + made.refusals.len());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(written.get() > 500 && refused.get() > 500, "{written:?} written, {refused:?} refused");
}

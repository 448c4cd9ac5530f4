//! Reads arbitrary bytes as a section, writes what could be read as a section of version 3, and reads that: every function that was
//! not refused says the same at the start of each of its rows.
#![no_main]

use std::collections::BTreeMap;

use kunwind::Entry;
use kunwind::sframe::write::{FunctionRows, Placement, write};
use kunwind::sframe::{Fde, PauthKey, PcType, SFrameSection};
use libfuzzer_sys::fuzz_target;

const ADDRESS: u64 = 0x2000;

/// What the section says of a function, if all of it can be read and the writer has a form for it.
fn rows_of(function: &Fde<'_>) -> Option<FunctionRows> {
    let rows: Option<Vec<(u64, Entry)>> = function
        .fres()
        .take(64)
        .map(|fre| {
            let fre = fre.ok()?;
            Some((u64::from(fre.start()), fre.entry().ok()?))
        })
        .collect();
    let rows = rows.filter(|rows| rows.windows(2).all(|pair| pair[0].0 < pair[1].0))?;
    (function.pc_type() == PcType::Inc && function.num_fres() <= 64).then(|| FunctionRows {
        start: function.start(),
        size: function.size().into(),
        signal: function.is_signal(),
        b_key: function.pauth_key() == Some(PauthKey::B),
        rows,
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(section) = SFrameSection::parse(data, ADDRESS) else { return };
    // One function for each address: which of several a lookup finds is another target's matter.
    let by_start: BTreeMap<u64, FunctionRows> =
        section.functions().take(64).flatten().filter_map(|it| rows_of(&it)).map(|it| (it.start, it)).collect();
    let functions: Vec<FunctionRows> = by_start.into_values().collect();
    let written = write(section.header().abi, Placement::Linked(ADDRESS), &functions).expect("64 functions fit");
    let again = SFrameSection::parse(&written.bytes, ADDRESS).expect("what was written can be read");
    let read: BTreeMap<u64, Fde<'_>> =
        again.functions().map(|it| it.expect("it can be read")).map(|it| (it.start(), it)).collect();
    for (index, function) in functions.iter().enumerate() {
        if written.refused.iter().any(|(refused, _)| *refused == index) {
            continue;
        }
        let found = &read[&function.start];
        for (offset, entry) in function.rows.iter().filter(|(offset, _)| *offset < function.size) {
            let said = found.entry_at(function.start + offset).expect("the row can be read");
            assert_eq!(said, *entry, "{:#x}+{offset:#x}", function.start);
        }
    }
});

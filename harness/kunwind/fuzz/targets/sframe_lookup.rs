//! Reads arbitrary bytes as a section: every function and row, and lookups where they begin and end.
#![no_main]

use kunwind::sframe::SFrameSection;
use libfuzzer_sys::fuzz_target;

const ADDRESS: u64 = 0x2000;

fuzz_target!(|data: &[u8]| {
    for section in [SFrameSection::parse(data, ADDRESS), SFrameSection::parse_unplaced(data)].into_iter().flatten() {
        let _ = section.lookup(0);
        let _ = section.lookup(u64::MAX);
        // Time is for many sections, and not for a long one.
        for function in section.functions().take(64).flatten() {
            let (start, end) = (function.start(), function.start().wrapping_add(function.size().into()));
            for pc in [start.wrapping_sub(1), start, end.wrapping_sub(1), end] {
                let _ = section.lookup(pc);
            }
            for fre in function.fres().take(64).flatten() {
                let _ = fre.entry();
                let _ = function.entry_at(start.wrapping_add(fre.start().into()));
            }
        }
    }
});

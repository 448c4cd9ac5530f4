//! Objects, against what the assembler wrote: byte for byte, or by functions where some are listed as different.

use std::collections::{BTreeMap, BTreeSet};

use kunwind::sframe::write::Placement;
use object::read::{Object as _, ObjectSection as _};

use super::convert;
use super::elf::{Elf, fixture};
use super::split::split;

/// A function that is written otherwise than by the assembler, or only by one of the two.
struct Difference {
    file: &'static str,
    /// From the start of the section that the function is in.
    function: u64,
    /// The attribute with the rows; none of a function that is refused.
    ours: Option<&'static [u8]>,
    because: &'static str,
}

/// All of them.
const DIFFERENCES: &[Difference] = &[
    Difference {
        file: "s07_large",
        function: 0x1a,
        ours: None,
        because: "a CFA offset of 172 is no multiple of 8; as rounds it to 168",
    },
    Difference {
        file: "x14_ra_undef_flex",
        function: 0,
        ours: Some(b"\x05\0\0\x01\0\x00\x04\x39\x08\x05\x04\x51\x00\x0a\x00\x0b\x04\x51\x00\x10\x04\x39\x08"),
        because: "the return address is back in its slot; as leaves it undefined",
    },
    Difference {
        file: "x20_flex_bigreg",
        function: 0,
        ours: None,
        because: "registers 33 and 31 are no general registers; as writes any number",
    },
    Difference {
        file: "x23_misc",
        function: 0,
        ours: Some(b"\x03\0\0\0\0\x00\x03\x08\x02\x05\x08\xf0\x03\x03\x08"),
        because: "as writes the row at 5, which says the same as the one at 3",
    },
    Difference {
        file: "x23_misc",
        function: 7,
        ours: None,
        because: "`.cfi_startproc simple` without a rule for the return address; as takes it to be in its usual slot",
    },
    Difference {
        file: "x25_zero_size",
        function: 1,
        ours: None,
        because: "a function without code, in which nothing can be; the kernel refuses the row that as writes",
    },
    Difference {
        file: "x31_refused",
        function: 0x1b,
        ours: Some(b"\x01\0\0\0\0\x00\x03\x08"),
        because: "`DW_CFA_GNU_args_size` changes no row; as refuses the function",
    },
    Difference {
        file: "x31_refused",
        function: 0x12,
        ours: Some(b"\x02\0\0\x01\0\x00\x04\x39\x08\x01\x0a\x39\x08\x00\x39\x08"),
        because: "FP = SP + 8, which flexible rows hold; as refuses every value expression",
    },
    Difference {
        file: "x31_refused",
        function: 0x15,
        ours: Some(b"\x02\0\0\x01\0\x00\x04\x39\x08\x01\x04\x3b\x08"),
        because: "CFA = *(SP + 8), which flexible rows hold; as knows the form with FP only",
    },
    Difference {
        file: "x32_restore_ra",
        function: 0,
        ours: Some(b"\x03\0\0\x01\0\x00\x04\x39\x08\x01\x08\x39\x00\x11\x00\x02\x04\x39\x08"),
        because: "`.cfi_restore %rip` puts the return address back in its slot; as ignores it",
    },
];

/// Objects with both sections.
#[rustfmt::skip] // a name per line would be a screen of names
pub(crate) const OBJECTS: &[&str] = &[
    "a01_leaf", "a02_fpframe", "a03_lronly", "a04_fponly", "a06_pauth_b", "a09_ra_undef", "a11_winsave", "a12_refused",
    "al_lib", "al_main", "al_other", "be_a01_leaf", "be_a02_fpframe", "be_a03_lronly", "be_a05_pauth_a", "be_a07_large",
    "be_a09_ra_undef", "s01_leaf", "s02_frame", "s04_regs", "s06_ra_undef", "s07_large", "s09_refused", "sl_lib", "sl_main",
    "x01_leaf", "x02_fpframe", "x04_pushpop", "x05_tailcall", "x06_multi", "x07_off2", "x11_signal", "x13_ra_undef",
    "x14_ra_undef_flex", "x15_flex_cfa_reg", "x16_drap", "x17_ra_reg", "x18_flex_stack", "x20_flex_bigreg", "x21_flex_expr",
    "x23_misc", "x24_simple_empty", "x25_zero_size", "x31_refused", "x32_restore_ra", "xl_lib", "xl_main",
    "xl_other",
];

/// For s390x, as fills the section up to its alignment with zeros, which belong to nothing.
fn without_padding(mut section: Vec<u8>, is_padded: bool) -> Vec<u8> {
    if is_padded {
        let word = |at: usize| u32::from_be_bytes(section[at..at + 4].try_into().expect("4 bytes"));
        let end = 28 + word(24) + word(16);
        let padding = section.split_off(usize::try_from(end).expect("an end"));
        assert!(padding.len() < 8 && padding.iter().all(|byte| *byte == 0));
    }
    section
}

/// By address: size, attribute and rows.
type Functions = BTreeMap<u64, (u32, Vec<u8>)>;

fn by_address(bytes: &[u8], starts: &[(usize, u64)], is_big_endian: bool) -> Functions {
    let (flags, pieces) = split(bytes, is_big_endian);
    assert_eq!(flags, 4, "relative to the field, and not sorted");
    let starts: BTreeMap<usize, u64> = starts.iter().copied().collect();
    pieces.into_iter().map(|piece| (starts[&piece.field], (piece.size, piece.rows))).collect()
}

/// Functions that differ and are not listed, and those that are listed and do not differ as it says there.
fn compare(name: &str, text: u64, listed: &[&Difference], theirs: &Functions, ours: &Functions) -> Vec<String> {
    let listed_starts = listed.iter().map(|difference| text + difference.function);
    let all: BTreeSet<u64> = theirs.keys().chain(ours.keys()).copied().chain(listed_starts).collect();
    let mut problems = Vec::new();
    for start in all {
        let (theirs, ours) = (theirs.get(&start), ours.get(&start));
        match listed.iter().find(|difference| text + difference.function == start) {
            None if theirs == ours => {}
            Some(difference) if theirs != ours && difference.ours == ours.map(|(_, rows)| rows.as_slice()) => {}
            found => problems.push(format!(
                "{name}+{:#x}, {}\n  as:   {theirs:02x?}\n  ours: {ours:02x?}",
                start - text,
                found.map_or("not listed", |difference| difference.because)
            )),
        }
    }
    problems
}

#[test]
fn objects_are_written_as_the_assembler_writes_them() {
    let mut problems = Vec::new();
    for name in OBJECTS {
        let bytes = fixture(&format!("{name}.v3.o"));
        let gold = without_padding(fixture(&format!("{name}.v3.sframe")), name.starts_with('s'));
        let elf = Elf::new(&bytes);
        let made = convert(&elf, Placement::Relocatable);
        let starts = elf.sframe_relocations();
        let relocations = made.written.relocations.iter();
        let own_starts: Vec<_> =
            relocations.map(|place| (place.offset, made.functions[place.function].start)).collect();
        let listed: Vec<_> = DIFFERENCES.iter().filter(|difference| difference.file == *name).collect();
        if !listed.is_empty() {
            let is_big_endian = elf.abi().is_big_endian();
            let theirs = by_address(&gold, &starts, is_big_endian);
            let ours = by_address(&made.written.bytes, &own_starts, is_big_endian);
            let text = elf.file.section_by_name(".text").expect(".text").index();
            problems.extend(compare(name, elf.address(text), &listed, &theirs, &ours));
        } else if made.written.bytes != gold || own_starts != starts {
            let ours = &made.written.bytes;
            problems.push(format!("{name}\n  as:   {gold:02x?}\n  ours: {ours:02x?}\n  {:?}", made.refusals));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_listed_difference_is_of_a_file_that_is_read() {
    for difference in DIFFERENCES {
        assert!(OBJECTS.contains(&difference.file) && difference.because.len() > 20, "{}", difference.file);
    }
}

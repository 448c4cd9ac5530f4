//! Linked files, against what the linker made of the assembler's rows, function by function.

use std::collections::BTreeMap;

use kunwind::sframe::write::Placement;
use object::read::{Object as _, ObjectSection as _};

use super::convert;
use super::elf::{Elf, fixture};
use super::split::split;

/// A function that only the linker has, or that it has otherwise.
struct Difference {
    file: &'static str,
    section: &'static str,
    /// From the start of the section.
    function: u64,
    because: &'static str,
}

const LAZY: &str =
    "CFI of a lazy PLT is an expression over the pc, which no row from CFI can say; ld writes the rows itself";
const PLT_GOT: &str = "ld says SP + 16 for the stubs of .plt.got; CFI says SP + 8, and so does the stub";

const WHOLE_PLT: &str =
    "CFI covers .plt as one function, with the same row everywhere; ld writes its entries as repeating rows";

const DIFFERENCES: &[Difference] = &[
    Difference { file: "sl_lib.v3.so", section: ".plt", function: 0, because: WHOLE_PLT },
    Difference { file: "sl_lib.v3.so", section: ".plt", function: 32, because: WHOLE_PLT },
    Difference { file: "xl_lib.v3.so", section: ".plt.got", function: 0, because: PLT_GOT },
    Difference { file: "xl_pie.v3.exe", section: ".plt", function: 0, because: LAZY },
    Difference { file: "xl_pie.v3.exe", section: ".plt", function: 16, because: LAZY },
];

/// Files that ld 2.47 linked.
#[rustfmt::skip]
pub(crate) const FILES: &[&str] = &[
    "al_lib.v3.so", "al_static.v3.exe", "sl_lib.v3.so", "xl_lib.v3.so", "xl_outermost.v3.exe", "xl_pie.v3.exe",
    "xl_static.v3.exe",
];

/// By address: size, attribute and rows.
type Functions = BTreeMap<u64, (u32, Vec<u8>)>;

/// The functions of a section at an address, which must be sorted.
fn by_address(bytes: &[u8], section: u64, is_big_endian: bool) -> Functions {
    let (flags, pieces) = split(bytes, is_big_endian);
    assert_eq!(flags, 5, "relative to the field, and sorted");
    let start = |piece: &super::split::Piece| (section + piece.field as u64).wrapping_add_signed(piece.start);
    assert!(pieces.is_sorted_by_key(start));
    pieces.into_iter().map(|piece| (start(&piece), (piece.size, piece.rows))).collect()
}

#[test]
fn linked_files_have_the_rows_of_the_linker() {
    let mut problems = Vec::new();
    for name in FILES {
        let bytes = fixture(name);
        let elf = Elf::new(&bytes);
        let is_big_endian = elf.abi().is_big_endian();
        let section = elf.file.section_by_name(".sframe").expect(".sframe");
        let theirs = by_address(section.data().expect("its bytes"), section.address(), is_big_endian);
        let made = convert(&elf, Placement::Linked(section.address()));
        assert!(made.written.relocations.is_empty());
        let ours = by_address(&made.written.bytes, section.address(), is_big_endian);
        let listed: BTreeMap<u64, &str> = DIFFERENCES
            .iter()
            .filter(|difference| difference.file == *name)
            .map(|difference| {
                let section = elf.file.section_by_name(difference.section).expect(difference.section);
                (section.address() + difference.function, difference.because)
            })
            .collect();
        let all = theirs.keys().chain(ours.keys()).chain(listed.keys());
        for start in all.copied().collect::<std::collections::BTreeSet<u64>>() {
            let (theirs, ours) = (theirs.get(&start), ours.get(&start));
            if (theirs == ours) == listed.contains_key(&start) {
                let because = listed.get(&start).unwrap_or(&"not listed");
                problems.push(format!("{name} {start:#x}: {because}\n  ld:   {theirs:02x?}\n  ours: {ours:02x?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

//! What the format cannot hold, and the reason that is given.

use kunwind::Register;
use kunwind::dwarf::Unsupported;
use kunwind::sframe::write::{Placement, Reason, RowError};

use super::convert;
use super::elf::{Elf, fixture};

/// The reasons of a file, with the functions' offsets from the first section with code.
fn refusals(name: &str) -> Vec<(u64, Reason)> {
    let bytes = fixture(&format!("{name}.v3.o"));
    let elf = Elf::new(&bytes);
    let text = object::Object::section_by_name(&elf.file, ".text").expect(".text");
    let text = elf.address(object::ObjectSection::index(&text));
    let refusals = convert(&elf, Placement::Relocatable).refusals;
    refusals.iter().map(|refusal| (refusal.range.expect("its FDE can be read").0 - text, refusal.reason)).collect()
}

#[test]
fn each_refused_function_is_named_with_its_reason() {
    use Unsupported::{CfaExpression, FramePointerUndefined, ReturnColumn, StackPointer, UnknownInstruction};
    let cfi = |reason, offset| Reason::Cfi(reason, offset);
    assert_eq!(
        refusals("x31_refused"),
        [
            (0x00, cfi(FramePointerUndefined, 1)),
            (0x03, cfi(StackPointer, 1)),
            (0x06, Reason::Row(RowError::ValueOfCfa, 1)),
            (0x09, cfi(StackPointer, 1)),
            (0x0c, cfi(StackPointer, 1)),
            (0x0f, cfi(ReturnColumn(3), 0)),
            (0x18, cfi(UnknownInstruction(0x2d), 1)),
            (0x1e, cfi(StackPointer, 1)),
        ]
    );
    assert_eq!(
        refusals("a12_refused"),
        [
            (0x00, Reason::Row(RowError::CfaRegister(Register(10)), 4)),
            (0x08, Reason::Row(RowError::CfaRegister(Register(10)), 4)),
            (0x10, Reason::Row(RowError::ReturnAddress, 4)),
            (0x18, cfi(FramePointerUndefined, 4)),
            (0x20, cfi(UnknownInstruction(0x2c), 4)),
            (0x28, cfi(ReturnColumn(9), 0)),
            (0x30, cfi(CfaExpression, 4)),
        ]
    );
    assert_eq!(refusals("a04_fponly"), [(0, Reason::Row(RowError::FramePointerAlone, 4))]);
    assert_eq!(
        refusals("s09_refused"),
        [(0, cfi(FramePointerUndefined, 2)), (4, cfi(StackPointer, 2)), (8, Reason::Row(RowError::ValueOfCfa, 2))]
    );
    assert_eq!(refusals("s07_large"), [(0x1a, Reason::Row(RowError::OffsetUnaligned(172), 4))]);
    assert_eq!(refusals("x23_misc"), [(7, Reason::Row(RowError::NoReturnAddress, 1))]);
    assert_eq!(refusals("x16_drap"), []);
}

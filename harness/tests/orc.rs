//! The ORC table that is made from a guest's CFI and hints.

use std::path::Path;

use kunwind::Format;
use kunwind::orc::{OrcBase, OrcEntry, OrcType};
use unwind_harness::cpu;
use unwind_harness::guest::conventions::mimic;
use unwind_harness::guest::{Guest, LoadedSection, Tables};

fn guest(cpu: &str, name: &str) -> Guest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guests/{cpu}/{name}.elf"));
    Guest::load(&path, cpu::by_name(cpu).expect("a CPU of the harness")).expect("a checked-in guest")
}

/// The entry at a place of the guest.
fn entry(guest: &Guest, tables: &Tables, function: &str, offset: u64) -> OrcEntry {
    let address = guest.function(function).expect("a function of the guest").address + offset;
    let entry = tables.orc().expect("a table").lookup(address);
    entry.expect("every entry can be read").expect("all text has entries")
}

const IRET: OrcEntry = OrcEntry { kind: OrcType::RegsPartial, signal: true, ..OrcEntry::call(OrcBase::Sp, 0) };
const REGS: OrcEntry = OrcEntry { kind: OrcType::Regs, ..IRET };
const RECORD: OrcEntry = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Bp, 16) };

#[test]
fn hints_count_where_there_is_no_cfi_and_the_rest_is_undefined() {
    let guest = guest("x86_64", "irq_on_task");
    let tables = Tables::new(&guest, &mimic(&guest)).expect("the guest's unwind data can be read");
    let at = |function, offset| entry(&guest, &tables, function, offset);
    // cld; push $-1; call; mov %rax, %rsp; ...
    assert_eq!([at("idt_irq", 0), at("idt_irq", 1)], [IRET; 2]);
    assert_eq!([at("idt_irq", 3), at("idt_irq", 8)], [OrcEntry { sp_offset: 8, ..IRET }; 2]);
    // The next one, lea 1(%rsp), %rbp, stands before the hint, as in Linux.
    assert_eq!([at("idt_irq", 0xb), at("idt_irq", 0x10)], [OrcEntry { sp_offset: 8, ..IRET }, REGS]);
    assert_eq!(at("idt_fault", 0), OrcEntry { sp_offset: 8, ..IRET });
    assert_eq!(at("error_entry", 0), OrcEntry::call(OrcBase::Sp, 8));
    assert_eq!(at("common_interrupt_return", 2), OrcEntry { sp_offset: -8, ..REGS }, "popped, but still there");
    assert_eq!(at("_start", 0), OrcEntry::END_OF_STACK);
    assert_eq!(at("ret_from_fork_asm", 0), OrcEntry::END_OF_STACK);
    // CFI: before, with and after the record of a function.
    assert_eq!(at("caller", 0), OrcEntry::call(OrcBase::Sp, 8));
    assert_eq!(at("caller", 1), OrcEntry { sp: OrcBase::Sp, ..RECORD });
    assert_eq!(at("caller", 4), RECORD);
    // In common_interrupt a hint stands between CFI and CFI.
    let function = guest.function("common_interrupt").expect("it is there");
    let all: Vec<OrcEntry> = (0..function.size).map(|offset| at("common_interrupt", offset)).collect();
    let indirect = OrcEntry { sp: OrcBase::SpIndirect, sp_offset: 24, ..RECORD };
    let first = all.iter().position(|entry| *entry == indirect).expect("the switch to the irq stack");
    let last = all.iter().rposition(|entry| *entry == indirect).expect("the switch back");
    assert!(all[first..=last].iter().all(|entry| *entry == indirect));
    assert_eq!((all[first - 1], all[last + 1]), (RECORD, RECORD));
    // Padding, and what follows the last function.
    assert_eq!(at("idt_irq", guest.function("idt_irq").expect("it is there").size), OrcEntry::UNDEFINED);
    let end = guest.text().map(|text| text.end).max().expect("there is text");
    assert_eq!(tables.orc().expect("a table").lookup(end), Ok(Some(OrcEntry::UNDEFINED)));
}

#[test]
fn only_guests_with_hints_have_a_table_and_bad_hints_are_an_error() {
    let has_orc = |guest: &Guest| {
        Tables::new(guest, &mimic(guest)).map(|tables| (tables.orc().is_some(), tables.has(Format::Orc)))
    };
    assert_eq!(has_orc(&guest("arm64", "irq_on_task")).ok(), Some((false, false)));
    assert_eq!(has_orc(&guest("x86_64", "leaf")).ok(), Some((false, false)));
    let mut guest = guest("x86_64", "irq_on_task");
    assert_eq!(has_orc(&guest).ok(), Some((true, true)));
    let hint = |bytes: &[u8]| Some(LoadedSection { address: 0, data: bytes.to_vec() });
    for (bytes, message) in [
        (&[0; 15][..], "it is cut off"),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 5, 0, 6, 0], "there is no type 6"),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 12, 0, 2, 0], "there is no register 12"),
    ] {
        guest.unwind.orc_hints = hint(bytes);
        let error = has_orc(&guest).expect_err("the hint is malformed").to_string();
        assert!(error.contains(message), "{error}");
    }
}

//! "Not judged" is a result: data that cannot be read, code that no one describes and rows that nothing was compared with are
//! said, and break the gate unless a scenario gives the reason.

use std::path::Path;

use object::elf::{SHF_COMPRESSED, SHT_NOBITS};
use unwind_harness::guest::{Guest, LoadedSection, Program, Symbol, Symbols};
use unwind_harness::recording::rows::{FunctionRows, GuestRows, TableResult};
use unwind_harness::rows;
use unwind_harness::scenario::{Scenario, UnjudgedRows};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&root().join(format!("scenarios/{name}.toml"))).expect("the scenario loads")
}

fn bytes(scenario: &Scenario, variant: usize) -> Vec<u8> {
    std::fs::read(scenario.guest_path(root(), &scenario.variants()[variant])).expect("the guest is there")
}

fn parsed(scenario: &Scenario, bytes: &[u8]) -> Guest {
    Guest::parse("planted".to_owned(), Path::new("planted.elf"), bytes, scenario.cpu).expect("the guest is good")
}

fn checked(scenario: &Scenario, guest: Guest) -> GuestRows {
    let program = Program::mimic(guest, &[], 0).expect("the guest is good");
    rows::check(&program, scenario, "planted").expect("it runs")
}

fn function<'g>(guest: &'g GuestRows, name: &str) -> &'g FunctionRows {
    guest.functions.iter().find(|function| function.name == name).unwrap_or_else(|| panic!("no function {name}"))
}

fn table<'g>(guest: &'g GuestRows, name: &str, format: &str) -> &'g TableResult {
    let tables = &function(guest, name).tables;
    tables.iter().find(|table| table.format == format).unwrap_or_else(|| panic!("{name} has no table {format}"))
}

/// Where the header of a section begins in an ELF file of 64 bits.
fn section_header(elf: &[u8], name: &str) -> usize {
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
    let (table, count, strings) = (number(0x28, 8), number(0x3c, 2), number(0x3e, 2));
    let names = number(table + strings * 64 + 0x18, 8);
    let is_it = |header: &usize| {
        let start = names + number(*header, 4);
        elf[start..].split(|byte| *byte == 0).next() == Some(name.as_bytes())
    };
    (0..count).map(|index| table + index * 64).find(is_it).unwrap_or_else(|| panic!("no section {name}"))
}

/// A guest whose section with CFI has another type or other flags.
fn with_header(offset: usize, value: u32) -> (Scenario, GuestRows) {
    let scenario = scenario("arm64/leaf");
    let mut elf = bytes(&scenario, 0);
    let at = section_header(&elf, ".debug_frame") + offset;
    elf[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let guest = checked(&scenario, parsed(&scenario, &elf));
    (scenario, guest)
}

#[test]
fn a_section_without_contents_or_a_compressed_one_is_not_read_and_said_so() {
    for (offset, value, says) in [(4, SHT_NOBITS.0, "has no contents"), (8, SHF_COMPRESSED.0 as u32, "is compressed")] {
        let (_, guest) = with_header(offset, value);
        assert_eq!(guest.unread.len(), 1, "{:?}", guest.unread);
        assert_eq!(guest.unread[0].format, "dwarf");
        assert!(guest.unread[0].reason.contains(says), "{:?}", guest.unread);
        assert!(guest.unread[0].reason.contains(".debug_frame"), "{:?}", guest.unread);
        let leaf = table(&guest, "leaf", "dwarf");
        assert!(leaf.has_no_data() && leaf.cfa.judged == 0, "{leaf:?}");
    }
}

#[test]
fn two_sections_that_describe_code_differently_judge_nothing_of_it() {
    let scenario = scenario("arm64/leaf");
    let mut guest = parsed(&scenario, &bytes(&scenario, 0));
    let mut other: LoadedSection = guest.unwind.debug_frame[0].clone();
    // DW_CFA_def_cfa_offset 32, in `caller` alone, becomes 48.
    let at = other.data.windows(2).position(|bytes| bytes == [0x0e, 0x20]).expect("it is there");
    other.data[at + 1] = 0x30;
    guest.unwind.debug_frame.push(other);
    let guest = checked(&scenario, guest);
    let caller = table(&guest, "caller", "dwarf");
    assert_eq!(caller.unjudged.len(), 1, "{caller:?}");
    assert!(caller.unjudged[0].reason.contains("describes the code"), "{caller:?}");
    assert_eq!(table(&guest, "leaf", "dwarf").unjudged, [], "what both say alike is judged");
    assert!(table(&guest, "leaf", "dwarf").cfa.judged > 0);
}

#[test]
fn an_instruction_that_no_reader_knows_ends_the_rows_and_not_the_function() {
    let scenario = scenario("arm64/museum_row_before_error");
    let guest = checked(&scenario, parsed(&scenario, &bytes(&scenario, 0)));
    let body = table(&guest, "body", "dwarf");
    assert_eq!(body.covered, 7, "up to the instruction after which CFI says 0x3b");
    assert_eq!((body.cfa.right, body.cfa.judged), (7, 7));
    let [unjudged] = &*body.unjudged else { panic!("{body:?}") };
    assert_eq!((unjudged.first, unjudged.last), (0x1c, 0x20));
    assert!(unjudged.reason.contains("0x3b"), "{unjudged:?}");
}

#[test]
fn a_function_without_a_size_reaches_to_the_next() {
    let scenario = scenario("x86_64/museum_own_eh_frame");
    let index = scenario.variants().iter().position(|variant| variant.name == "no_size").expect("the build is there");
    let guest = checked(&scenario, parsed(&scenario, &bytes(&scenario, index)));
    let (lowers, start) = (function(&guest, "lowers"), function(&guest, "_start"));
    assert!(lowers.is_size_inferred && !start.is_size_inferred);
    assert_eq!(lowers.instructions, 4);
    assert!(table(&guest, "lowers", "dwarf").is_wrong(), "its .eh_frame is read beside .debug_frame");
}

#[test]
fn code_that_ran_and_has_no_symbol_is_counted() {
    let scenario = scenario("arm64/leaf");
    let mut guest = parsed(&scenario, &bytes(&scenario, 0));
    let named: Vec<Symbol> = guest.symbols.all().iter().filter(|symbol| symbol.name != "leaf").cloned().collect();
    guest.symbols = Symbols::new(named);
    assert!(checked(&scenario, guest).outside_functions > 0);
}

#[test]
fn what_is_not_judged_needs_a_reason_and_a_reason_needs_something_unjudged() {
    let broken = |scenario: &Scenario| {
        let scenarios = std::slice::from_ref(scenario);
        rows::run_all(root(), scenarios, scenarios).expect("it runs").row_failures
    };
    let mut scenario = scenario("arm64/museum_row_before_error");
    assert_eq!(broken(&scenario), [""; 0]);
    let listed = std::mem::take(&mut scenario.text.unjudged);
    let [failure] = &*broken(&scenario) else { panic!("one function") };
    assert!(failure.contains("dwarf is not judged at body+0x1c"), "{failure}");
    let mut vain = listed[0].clone();
    vain.functions = vec!["leaf".to_owned()];
    scenario.text.unjudged = listed;
    scenario.text.unjudged.push(vain);
    let [failure] = &*broken(&scenario) else { panic!("one list") };
    assert!(failure.contains("[[unjudged]] lists leaf, whose rows were judged"), "{failure}");
    let stray = UnjudgedRows { table: None, functions: Vec::new(), because: "nothing".to_owned() };
    *scenario.text.unjudged.last_mut().expect("the vain one") = stray;
    let [failure] = &*broken(&scenario) else { panic!("one list") };
    assert!(failure.contains("without functions lists nothing"), "{failure}");
}

#[test]
fn a_gate_can_demand_data() {
    let mut scenario = scenario("x86_64/museum_probestack_no_rows");
    scenario.text.must_have_rows = vec!["dwarf".to_owned()];
    let scenarios = [scenario];
    let failures = rows::run_all(root(), &scenarios, &scenarios).expect("it runs").row_failures;
    let [failure] = &*failures else { panic!("{failures:?}") };
    assert!(failure.contains("dwarf has no data for probestack"), "{failure}");
}

#[test]
fn a_signature_that_the_rows_deny_or_invent_is_caught() {
    let scenario = scenario("arm64/pac_signed");
    assert!(
        !checked(&scenario, parsed(&scenario, &bytes(&scenario, 0)))
            .functions
            .iter()
            .any(|function| { function.tables.iter().any(TableResult::is_wrong) })
    );
    let mut guest = parsed(&scenario, &bytes(&scenario, 0));
    // DW_CFA_AARCH64_negate_ra_state becomes DW_CFA_nop, once: from there on the state is the opposite.
    let data = &mut guest.unwind.debug_frame[0].data;
    let at = data.iter().position(|byte| *byte == 0x2d).expect("the guest signs");
    data[at] = 0;
    let guest = checked(&scenario, guest);
    let wrong = guest.functions.iter().flat_map(|function| &function.tables).flat_map(|table| &table.wrong);
    let details: Vec<&str> = wrong.map(|wrong| &*wrong.detail).collect();
    assert!(details.iter().any(|detail| detail.contains("said not to be signed, but is, with key A")), "{details:?}");
    assert!(details.iter().any(|detail| detail.contains("is said to be signed, and is not")), "{details:?}");
}

#[test]
fn a_return_address_that_is_signed_with_another_key_than_the_rows_say_is_caught() {
    let scenario = scenario("arm64/pac_signed");
    let mut guest = parsed(&scenario, &bytes(&scenario, 0));
    // paciasp and autiasp become pacibsp and autibsp.
    for (a, b) in [(0xd503_233f_u32, 0xd503_237f_u32), (0xd503_23bf, 0xd503_23ff)] {
        for word in guest.segments.iter_mut().flat_map(|segment| segment.data.chunks_exact_mut(4)) {
            if *word == a.to_le_bytes() {
                word.copy_from_slice(&b.to_le_bytes());
            }
        }
    }
    let guest = checked(&scenario, guest);
    let caller = table(&guest, "caller", "sframe");
    assert_eq!(caller.cfa.right, caller.cfa.judged);
    let says = "is said to be signed with key A, but is with key B";
    assert!(!caller.wrong.is_empty() && caller.wrong.iter().all(|wrong| wrong.detail.contains(says)), "{caller:?}");
}

#[test]
fn a_word_below_sp_is_dead_to_rows_and_walks() {
    let mut scenario = scenario("arm64/museum_record_below_sp");
    // With a red zone of a word, that word is the function's own, and no other.
    assert_eq!(scenario.text.red_zone, Some(8));
    let guest = checked(&scenario, parsed(&scenario, &bytes(&scenario, 0)));
    let golang = table(&guest, "golang", "dwarf");
    let [wrong] = &*golang.wrong else { panic!("{golang:?}") };
    assert!(wrong.detail.contains("is read 0x38 below SP"), "{wrong:?}");
    scenario.text.red_zone = None;
    let guest = checked(&scenario, parsed(&scenario, &bytes(&scenario, 0)));
    let golang = table(&guest, "golang", "dwarf");
    assert!(golang.wrong[0].detail.contains("is read 0x8 below SP"), "{golang:?}");
}

#[test]
fn a_row_that_holds_before_a_call_is_judged_while_the_function_waits_too() {
    let scenario = scenario("arm64/fgraph");
    let guest = checked(&scenario, parsed(&scenario, &bytes(&scenario, 0)));
    let traced = table(&guest, "traced", "sframe");
    let [wrong] = &*traced.wrong else { panic!("{traced:?}") };
    assert_eq!(wrong.offset, 4, "the patched call");
    assert!(wrong.detail.contains("while it waits for its call to return"), "{wrong:?}");
}

#[test]
fn a_wrong_state_says_which_value_and_by_how_much() {
    let mut scenario = scenario("riscv64/museum_push_order");
    scenario.text.known.clear();
    let options = unwind_harness::suite::Options { threads: Some(1), ..Default::default() };
    let (recording, _) = unwind_harness::suite::run_all(root(), &[scenario], &options).expect("it runs");
    let of_s1 = recording.sections.iter().find(|section| section.variant.as_deref() == Some("s1")).expect("the build");
    let failures: Vec<&str> = of_s1.failures.iter().map(|failure| &*failure.message).collect();
    assert!(failures.iter().any(|text| text.contains("(s1 of entry 1 is off by ")), "{failures:?}");
}

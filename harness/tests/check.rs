//! `unwind-harness check`: rows that are wrong are caught, in the place where they are, and rows that are right are not.

use std::path::Path;
use std::process::Command;

use kunwind::Format;
use kunwind::sframe::SFrameAbi;
use unwind_harness::guest;
use unwind_harness::guest::Program;
use unwind_harness::recording::rows::{
    Agreement, FunctionRows as Function, GuestRows as Guest, Leaf, Part, TableResult,
};
use unwind_harness::rows;
use unwind_harness::scenario::{Scenario, WrongRows, load_all};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&root().join(format!("scenarios/{name}.toml"))).expect("the scenario loads")
}

fn load(scenario: &Scenario) -> guest::Guest {
    guest::Guest::load(&scenario.guest_path(root(), &scenario.variants()[0]), scenario.cpu).expect("the guest loads")
}

fn checked(scenario: &Scenario, guest: guest::Guest) -> Guest {
    let program = Program::mimic(guest, &[], 0).expect("the guest is good");
    rows::check(&program, scenario, "planted").expect("it runs")
}

fn function<'g>(guest: &'g Guest, name: &str) -> &'g Function {
    guest.functions.iter().find(|function| function.name == name).unwrap_or_else(|| panic!("no function {name}"))
}

fn is_wrong(function: &Function) -> bool {
    function.tables.iter().any(TableResult::is_wrong)
}

fn wrong_functions(guest: &Guest) -> Vec<&str> {
    guest.functions.iter().filter(|function| is_wrong(function)).map(|function| &*function.name).collect()
}

/// Replaces the first occurrence of these bytes in a guest's `.debug_frame`.
fn patch(guest: &mut guest::Guest, from: &[u8], to: &[u8]) {
    let section = guest.unwind.debug_frame.first_mut().expect("the guest has CFI");
    let at = section.data.windows(from.len()).position(|bytes| bytes == from).expect("the bytes are there");
    section.data[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn one_wrong_row_is_caught_at_its_instruction_and_nowhere_else() {
    let scenario = scenario("arm64/leaf");
    assert_eq!(wrong_functions(&checked(&scenario, load(&scenario))), [""; 0]);

    // DW_CFA_def_cfa_offset 32, in `caller` alone, becomes 48.
    let mut guest = load(&scenario);
    patch(&mut guest, &[0x0e, 0x20], &[0x0e, 0x30]);
    let guest = checked(&scenario, guest);
    assert_eq!(wrong_functions(&guest), ["caller"]);
    let caller = function(&guest, "caller");
    for table in &caller.tables {
        assert!(table.wrong.iter().all(|wrong| wrong.offset == 4), "{:?}", table.wrong);
        assert_eq!((table.wrong[0].part, &*table.wrong[0].detail), (Part::Cfa, "is 0x10 too high"));
        // The registers' places are counted from the CFA.
        assert_eq!(table.wrong.len(), 3, "{:?}", table.wrong);
        assert_eq!(table.cfa.right + 1, table.cfa.judged);
    }
    let formats: Vec<&str> = caller.tables.iter().map(|table| &*table.format).collect();
    assert_eq!(formats, ["sframe", "dwarf"], "ORC is x86-64's");
}

#[test]
fn a_wrong_place_of_the_return_address_is_caught() {
    let scenario = scenario("arm64/leaf");
    let mut guest = load(&scenario);
    // DW_CFA_offset x30 (0x80 | 30) at 6 * 4 below the CFA, in `caller` alone, becomes 2 * 4.
    patch(&mut guest, &[0x9e, 6], &[0x9e, 2]);
    let guest = checked(&scenario, guest);
    assert_eq!(wrong_functions(&guest), ["caller"]);
    for table in &function(&guest, "caller").tables {
        assert!(!table.wrong.is_empty() && table.wrong.iter().all(|wrong| wrong.part == Part::Ra), "{:?}", table.wrong);
        assert_eq!(table.first_wrong(), Some(4));
        assert_eq!(table.cfa.right, table.cfa.judged);
    }
}

#[test]
fn the_unwind_data_of_another_guest_are_caught() {
    let scenario = scenario("arm64/late_frame_record");
    let mut guest = load(&scenario);
    guest.unwind = load(&self::scenario("arm64/leaf")).unwind;
    assert!(!wrong_functions(&checked(&scenario, guest)).is_empty());
}

#[test]
fn tables_that_differ_are_reported_with_the_place() {
    let scenario = scenario("arm64/leaf");
    let mut guest = load(&scenario);
    // A section of right rows, next to wrong CFI.
    let right = Program::mimic(load(&scenario), &[], 0).expect("the guest is good");
    let made = kunwind::sframe::write::from_cfi(
        &kunwind::dwarf::Cfi {
            section: kunwind::dwarf::CfiSection::DebugFrame,
            bytes: &right.guest.unwind.debug_frame.first().expect("CFI").data,
            readable: &right.guest.unwind.debug_frame.first().expect("CFI").data,
            address: 0,
            columns: kunwind::dwarf::Columns::from(SFrameAbi::of(scenario.cpu.abi).expect("arm64 has an SFrame ABI")),
        },
        SFrameAbi::of(scenario.cpu.abi).expect("arm64 has an SFrame ABI"),
        kunwind::sframe::write::Placement::Linked(right.guest.segments[0].address),
    )
    .expect("SFrame can represent the CFI");
    guest.unwind.sframe =
        vec![guest::LoadedSection { address: right.guest.segments[0].address, data: made.written.bytes }];
    patch(&mut guest, &[0x0e, 0x20], &[0x0e, 0x30]);
    let guest = checked(&scenario, guest);
    let caller = function(&guest, "caller");
    assert_eq!(caller.agreement, Agreement::Differ(4));
    let wrong: Vec<(&str, bool)> = caller.tables.iter().map(|table| (&*table.format, table.is_wrong())).collect();
    assert_eq!(wrong, [("sframe", false), ("dwarf", true)]);
    assert_eq!(function(&guest, "leaf").agreement, Agreement::Same);
}

/// Whether a guest is compiled from a C source in `guests/any`.
fn is_compiled(guest: &Guest) -> bool {
    let (_, name) = guest.name.split_once('/').expect("<cpu>/<stem>");
    let sources = std::fs::read_dir(root().join("guests/any")).expect("the folder is there");
    let paths =
        sources.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension() == Some("c".as_ref()));
    let stems: Vec<String> =
        paths.map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned()).collect();
    assert!(!stems.is_empty());
    stems.iter().any(|stem| name == stem || name.strip_prefix(&**stem).is_some_and(|rest| rest.starts_with("-O")))
}

#[test]
fn hand_written_rows_are_right_and_those_of_the_compiler_are_not() {
    let all = load_all(root()).expect("the scenarios load");
    let report = rows::run_all(root(), &all, &all).expect("everything runs");
    assert_eq!(report.row_failures, [""; 0]);
    let mut compiled = 0;
    for guest in &report.rows {
        assert!(guest.void.is_none() || guest.void_is_meant, "{}: {:?}", guest.name, guest.void);
        let wrong = wrong_functions(guest);
        if guest.name.ends_with("/outermost") {
            assert_eq!(wrong, ["liar"]);
        } else if guest.name.contains("/museum_") {
            // Defective on purpose, or fixed: museum.rs judges both.
        } else if guest.name == "arm64/leaf_misannotated" {
            assert_eq!(wrong, ["encrypt_frame_push", "encrypt_sub_sp", "encrypt_push_lr"]);
        } else if guest.name.starts_with("arm64/") && guest.name.ends_with("-undefined") {
            // Rows that deny a return address, and those of patched functions.
            assert!(wrong.contains(&"return_to_handler"), "{wrong:?}");
        } else if is_compiled(guest) && !guest.name.starts_with("x86_64/") {
            // clang 14: one row for a whole prologue, none for an epilogue.
            assert!(!wrong.is_empty(), "{} has nothing wrong: is there another compiler?", guest.name);
            compiled += 1;
        } else {
            // What a tracer or a live patch changes is wrong in the rows of a compiler; scenarios say where and why. The rows of
            // everything else are right: the gates hold, and nothing is listed in vain.
            let listed = all.iter().filter(|scenario| guest.name.starts_with(scenario.cpu.name));
            let listed: Vec<&String> =
                listed.flat_map(|it| &it.text.wrong_rows).flat_map(|list| &list.functions).collect();
            assert!(wrong.iter().all(|name| listed.iter().any(|other| *other == name)), "{}: {wrong:?}", guest.name);
        }
        // The rows of a whole function are judged wherever it ran and has a caller.
        for table in guest.functions.iter().flat_map(|function| &function.tables) {
            assert!(
                Part::ALL
                    .iter()
                    .filter_map(|part| table.part(*part))
                    .all(|part| part.right <= part.judged && part.judged <= table.covered)
            );
        }
    }
    assert_eq!(compiled, 18);
}

#[test]
fn a_leaf_claim_holds_if_the_rows_are_right() {
    let leaf_of =
        |guest: &Guest, name: &str| function(guest, name).tables.iter().map(|table| table.leaf).collect::<Vec<_>>();
    let annotated = scenario("arm64/leaf_annotated");
    let guest = checked(&annotated, load(&annotated));
    for name in ["strlen_leaf", "memcmp_leaf", "memcpy_leaf", "checksum_leaf"] {
        assert_eq!(leaf_of(&guest, name), [Leaf::Holds; 2], "{name}");
        assert_eq!(function(&guest, name).ran, function(&guest, name).instructions, "{name} runs as a whole");
    }
    assert_eq!(leaf_of(&guest, "guest_main"), [Leaf::NotClaimed; 2]);
    // A function of handlers that never runs here.
    let handler =
        guest.functions.iter().find(|function| function.ran == 0 && function.tables[0].leaf != Leaf::NotClaimed);
    assert_eq!(handler.expect("walk_here is a leaf that no undisturbed run enters").tables[0].leaf, Leaf::Untested);

    let unannotated = scenario("arm64/leaf_unannotated");
    let guest = checked(&unannotated, load(&unannotated));
    assert_eq!(leaf_of(&guest, "strlen_leaf"), [Leaf::NotClaimed; 2]);
    assert!(function(&guest, "strlen_leaf").tables.iter().all(|table| table.covered == 0));

    let misannotated = scenario("arm64/leaf_misannotated");
    let guest = checked(&misannotated, load(&misannotated));
    // At +0x8 SP has moved.
    for name in ["encrypt_frame_push", "encrypt_sub_sp", "encrypt_push_lr"] {
        assert_eq!(leaf_of(&guest, name), [Leaf::Refuted(8); 2], "{name}");
    }
    assert_eq!(leaf_of(&guest, "block"), [Leaf::Holds; 2]);
    // riscv's `move_two` is called through t0 and calls through it: ra stays what it was.
    let alternate = scenario("riscv64/return_address_in_gpr");
    assert!(!wrong_functions(&checked(&alternate, load(&alternate))).contains(&"move_two"));
}

#[test]
fn what_lies_between_functions_has_no_row() {
    let scenario = scenario("arm64/leaf_annotated");
    let program = Program::mimic(load(&scenario), &[], 0).expect("the guest is good");
    let symbols = &program.guest.symbols;
    let address = |name| symbols.address(name).expect("the symbol is there");
    let end = |name| symbols.function_named(name).map(|function| function.address + function.size).expect("a function");
    let literal = address("literal_before_memcpy_leaf");
    assert_eq!(literal + 8, address("memcpy_leaf"), "the literal is the word before the function");
    assert_eq!(end("checksum_leaf"), address("pool_behind_checksum_leaf"), "the pool starts after the function");
    let gaps = [literal, literal + 7, address("pool_behind_checksum_leaf"), end("memcmp_leaf"), end("guest_main")];
    let code = [address("memcpy_leaf"), end("memcmp_leaf") - 4, end("checksum_leaf") - 1, end("guest_main") - 4];
    for format in [Format::SFrame, Format::Dwarf] {
        let table = program.tables.get(format).expect("the table is there");
        for gap in gaps {
            assert_eq!(table.entry(gap), Ok(None), "{} at {}", format.name(), symbols.name_of_data(gap));
        }
        for place in code {
            assert!(matches!(table.entry(place), Ok(Some(_))), "{} at {}", format.name(), symbols.name(place));
        }
    }
}

#[test]
fn wrong_rows_need_a_reason_and_a_reason_needs_wrong_rows() {
    let named = |scenario: &Scenario| {
        let report = rows::run_all(root(), std::slice::from_ref(scenario), std::slice::from_ref(scenario));
        report.expect("it runs").row_failures
    };
    let mut scenario = scenario("arm64/leaf_misannotated");
    assert_eq!(named(&scenario), [""; 0]);
    let listed = std::mem::take(&mut scenario.text.wrong_rows);
    let broken = named(&scenario);
    assert_eq!(broken.len(), 3, "{broken:?}");
    assert!(broken[0].contains("sframe and dwarf are wrong at encrypt_frame_push+0x8"), "{broken:?}");
    scenario.text.wrong_rows = listed;
    scenario.text.wrong_rows.push(WrongRows { functions: vec!["block".to_owned()], because: "a lie".to_owned() });
    let broken = named(&scenario);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("lists block, whose rows are not wrong"), "{broken:?}");
}

#[test]
fn the_program_prints_a_table_and_writes_a_document_and_both_are_always_the_same() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check.json");
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
            .args(["check", "arm64/leaf_misannotated", "arm64/leaf", "--json"])
            .arg(&file)
            .current_dir(root())
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).expect("text"), std::fs::read_to_string(&file).expect("the document"))
    };
    let (table, document) = run();
    assert_eq!((&table, &document), (&run().0, &run().1));
    let line = table.lines().find(|line| line.contains("encrypt_push_lr") && line.contains("sframe"));
    let words: Vec<&str> = line.expect("a line for the function").split_whitespace().collect();
    let head = ["encrypt_push_lr", "6", "6", "6", "sframe", "6", "3/6", "3/6", "6/6", "-", "false", "yes"];
    assert_eq!(words[..head.len()], head);
    let wrong = words[head.len()..].join(" ");
    assert!(wrong.starts_with("encrypt_push_lr+0x8: cfa is 0x10 too low; ra (while it waits"), "{wrong}");

    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["schema"], 2);
    assert_eq!(document["rows"][0]["name"], "arm64/leaf");
    let functions = document["rows"][1]["functions"].as_array().expect("functions");
    let function = functions.iter().find(|function| function["name"] == "encrypt_push_lr").expect("the function");
    let table = &function["tables"][0];
    assert_eq!(table["format"], "sframe");
    assert_eq!((&table["leaf"]["refuted"], &table["ra"]["right"]), (&8.into(), &3.into()));
    assert_eq!((&table["wrong"][0]["offset"], &table["wrong"][0]["part"]), (&8.into(), &"cfa".into()));
    assert_eq!(function["agreement"], "same");
}

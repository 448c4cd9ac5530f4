//! Real files: the libcs of Debian 12, as `.ci/setup --ci` installs them. Functions of each are called with arguments, and every row
//! that was executed is judged. What is expected are properties, because another release of a file moves everything in it: results
//! are what manuals say, no run is void, and rows are wrong only in functions that are known for it, each with its reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::interrupt::Interrupt;
use unwind_harness::recording::CallOutcome;
use unwind_harness::recording::rows::{FunctionRows, GuestRows};
use unwind_harness::rows;
use unwind_harness::scenario::{Asked, Scenario, elf_call, process};
use unwind_harness::suite::called;
use unwind_harness::user::{Module, process::Launch};
use unwind_harness::verdict::Verdict;

use crate::linux_packages::skip;
use crate::user_call::libcs;
use crate::user_process::{TOOLS, compile, judge, launch};

/// A function, its arguments, the lower half of its result where it is known, and how its first buffer then begins.
type Case = (&'static str, &'static [&'static str], Option<i32>, &'static str);

const CASES: &[Case] = &[
    ("qsort", &["u32:5,3,-9,1", "4", "4", "fn:compare-int"], None, "f7ffffff010000000300000005000000"),
    ("bsearch", &["u32:6", "u32:1,3,5,9", "4", "4", "fn:compare-int"], Some(0), ""),
    ("lfind", &["u32:7", "u32:1,2,3", "hex:0300000000000000", "4", "fn:compare-int"], Some(0), ""),
    ("snprintf", &["buf:16", "16", "str:%d-%s", "42", "str:ab"], Some(5), "34322d616200"),
    ("sprintf", &["buf:64", "str:%x.%06lx.%c", "255", "4096", "65"], Some(11), "66662e3030313030302e4100"),
    ("__isoc99_sscanf", &["str:12", "str:%d", "buf:4"], Some(1), "0c000000"),
    ("strtod", &["str:2.5x", "buf:8"], None, ""),
    ("strtod", &["str:1.234567890123456789e-30", "0"], None, ""),
    ("strtold", &["str:1e300", "0"], None, ""),
    ("strtol", &["str:-77", "0", "10"], Some(-77), ""),
    ("strtoul", &["str:0xff", "0", "0"], Some(255), ""),
    ("strtoull", &["str:777", "0", "8"], Some(511), ""),
    ("atoi", &["str:123"], Some(123), ""),
    ("atol", &["str:-123"], Some(-123), ""),
    ("wcstol", &["u32:55,55,0", "0", "10"], Some(77), ""),
    ("strlen", &["str:hello"], Some(5), ""),
    ("strnlen", &["str:hello", "3"], Some(3), ""),
    ("strcmp", &["str:abc", "str:abc"], Some(0), ""),
    ("strncmp", &["str:abc", "str:abd", "2"], Some(0), ""),
    ("strcasecmp", &["str:ABC", "str:abc"], Some(0), ""),
    ("strncasecmp", &["str:ABCx", "str:abcy", "3"], Some(0), ""),
    ("strcoll", &["str:abc", "str:abc"], Some(0), ""),
    ("strxfrm", &["buf:16", "str:abc", "16"], Some(3), "616263"),
    ("strspn", &["str:aabbc", "str:ab"], Some(4), ""),
    ("strcspn", &["str:aabbc", "str:c"], Some(4), ""),
    ("strchr", &["str:hello", "120"], Some(0), ""),
    ("strrchr", &["str:hello", "120"], Some(0), ""),
    ("strpbrk", &["str:hello", "str:xyz"], Some(0), ""),
    ("strstr", &["str:hello_world", "str:wox"], Some(0), ""),
    ("strcasestr", &["str:HelloWorld", "str:wox"], Some(0), ""),
    ("strtok_r", &["str:,,", "str:,", "buf:8"], Some(0), ""),
    ("strcpy", &["buf:16", "str:hello"], None, "68656c6c6f00"),
    ("strncpy", &["buf:16", "str:hello", "3"], None, "68656c00"),
    ("stpcpy", &["buf:16", "str:hello"], None, "68656c6c6f00"),
    ("strcat", &["buf:16", "str:hello"], None, "68656c6c6f00"),
    ("strncat", &["buf:16", "str:hello", "3"], None, "68656c00"),
    ("memcmp", &["str:abc", "str:abc", "3"], Some(0), ""),
    ("memcpy", &["buf:8", "hex:0102030405060708", "8"], None, "0102030405060708"),
    ("memmove", &["buf:16", "str:abcdefgh", "8"], None, "6162636465666768"),
    ("mempcpy", &["buf:16", "str:abc", "3"], None, "616263"),
    ("memccpy", &["buf:16", "str:abcdef", "99", "6"], None, "61626300"),
    ("memset", &["buf:100", "7", "100"], None, "0707"),
    ("memchr", &["str:hello", "120", "5"], Some(0), ""),
    ("memrchr", &["str:hello", "120", "5"], Some(0), ""),
    ("memmem", &["str:hello", "5", "str:lx", "2"], Some(0), ""),
    ("rawmemchr", &["str:hello", "111"], None, ""),
    ("rawmemchr", &["str:hello", "0"], None, ""),
    ("swab", &["hex:01020304", "buf:4", "4"], None, "02010403"),
    ("wcslen", &["u32:97,98,99,0"], Some(3), ""),
    ("wcscmp", &["u32:97,98,0", "u32:97,98,0"], Some(0), ""),
    ("wcscpy", &["buf:16", "u32:97,98,0"], None, "610000006200000000000000"),
    ("wmemset", &["buf:8", "120", "2"], None, "7800000078000000"),
    ("mbstowcs", &["buf:16", "str:ab", "4"], Some(2), "6100000062000000"),
    ("wcstombs", &["buf:16", "u32:97,98,0", "8"], Some(2), "616200"),
    ("inet_aton", &["str:127.0.0.1", "buf:4"], Some(1), "7f000001"),
    ("inet_pton", &["2", "str:127.0.0.1", "buf:4"], Some(1), "7f000001"),
    ("inet_ntop", &["2", "hex:7f000001", "buf:16", "16"], None, "3132372e302e302e3100"),
    ("fnmatch", &["str:*.c", "str:x.c", "0"], Some(0), ""),
    ("a64l", &["str:./"], Some(64), ""),
    ("sem_init", &["buf:32", "0", "1"], Some(0), "01000000"),
    ("sigaddset", &["buf:128", "5"], Some(0), "10"),
    ("_setjmp", &["buf:400"], Some(0), ""),
];

/// A function with wrong rows: its CPU, and its name or, where the file is stripped, its first instructions; and why.
struct Known {
    cpu: &'static str,
    name: &'static str,
    code: &'static [u8],
    /// The words of docs/findings-real.md.
    reason: &'static str,
}

const KNOWN: [Known; 3] = [
    Known {
        cpu: "x86_64",
        name: "",
        code: &[0x53, 0x55, 0x48, 0x8d, 0x1a, 0x48, 0xf7, 0xdb], // push %rbx; push %rbp; lea (%rdx),%rbx; neg %rbx
        reason: "__mpn_addmul_1 and __mpn_submul_1 push two registers and have one row",
    },
    Known {
        cpu: "arm64",
        name: "__rawmemchr",
        code: &[],
        reason: "its return address is said to be in x15 from its first instruction on",
    },
    Known {
        cpu: "riscv64",
        name: "",
        code: &[0x75, 0x71, 0x86, 0xe4, 0x2a, 0xe4], // addi sp, sp, -144; sd ra, 72(sp); sd a0, 8(sp)
        reason: "_dl_runtime_resolve makes a frame and has one row",
    },
];

/// The reason why rows of a function are wrong, if it is known.
fn known(module: &Module, function: &FunctionRows) -> Option<&'static str> {
    let symbol = module.symbols.iter().find(|symbol| symbol.name == function.name);
    let code = symbol.map_or(&[][..], |symbol| module.bytes_at(symbol.address));
    let is_it = |known: &&Known| {
        known.cpu == module.cpu.name
            && (known.name == function.name || !known.code.is_empty() && code.starts_with(known.code))
    };
    KNOWN.iter().find(is_it).map(|known| known.reason)
}

/// The rows of a run, which must not be void. Each point stands in one of the four columns, and no gate is broken.
fn checked(scenario: &Scenario) -> GuestRows {
    let mut report = rows::run_all(Path::new(""), std::slice::from_ref(scenario), &[]).expect("it runs");
    assert_eq!(report.row_failures, Vec::<String>::new());
    let rows = report.rows.remove(0);
    assert_eq!((&rows.void, &rows.not_judged), (&None, &None), "{}", rows.name);
    for level in rows.levels.values() {
        let sum = level.innermost_right + level.wrong + level.no_row + level.not_judged;
        assert_eq!(sum, rows.points, "{}: {level:?}", rows.name);
    }
    rows
}

/// The functions whose DWARF rows are wrong, by the reason; one without a reason fails.
fn wrong(rows: &GuestRows, module: &Module) -> BTreeSet<&'static str> {
    let mut reasons = BTreeSet::new();
    for function in &rows.functions {
        let table = function.tables.iter().find(|table| table.format == "dwarf").expect("it has CFI");
        if !table.wrong.is_empty() {
            let reason = known(module, function);
            reasons.insert(reason.unwrap_or_else(|| panic!("{}: {}: {:?}", rows.name, function.name, table.wrong)));
        }
    }
    reasons
}

fn call(path: &Path, function: &str, arguments: &[&str]) -> (Scenario, CallOutcome) {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let scenario = elf_call(path, function, &arguments, &[]).expect("it is a call");
    let outcome = called(Path::new(""), &scenario, &Interrupt::default());
    (scenario, outcome.unwrap_or_else(|error| panic!("{function}: {error}")).expect("it is a call"))
}

/// The CPU's libc; a missing one is said aloud.
fn libc(test: &str, cpu: &str) -> Option<PathBuf> {
    libcs(test).find(|(of, _)| *of == cpu).map(|(_, path)| path)
}

#[rstest]
fn functions_of_libc_are_right_but_for_known_rows(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let Some(path) = libc("functions_of_libc_are_right_but_for_known_rows", cpu) else { return };
    let module = Module::load(&path).expect("it is an ELF file");
    let mut reasons = BTreeSet::new();
    for (name, arguments, result, bytes) in CASES {
        let (scenario, outcome) = call(&path, name, arguments);
        if let Some(result) = result {
            assert_eq!(outcome.result as i32, *result, "{cpu}: {name}: {outcome:?}");
        }
        let hex = outcome.changed.first().map_or("", |changed| &changed.hex);
        assert!(hex.starts_with(bytes), "{cpu}: {name}: {outcome:?}");

        let rows = checked(&scenario);
        let found = wrong(&rows, &module);
        let dwarf = &rows.levels["dwarf"];
        let without = |function: &FunctionRows| {
            let table = function.tables.iter().find(|table| table.format == "dwarf");
            function.ran > 0 && table.is_some_and(|table| table.covered == 0)
        };
        let holes: Vec<&str> =
            rows.functions.iter().filter(|function| without(function)).map(|function| &*function.name).collect();
        match cpu {
            "x86_64" => assert!(holes.is_empty() && dwarf.no_row == 0, "{name}: {holes:?} {dwarf:?}"),
            "arm64" => assert!(holes.iter().all(|hole| hole.ends_with("@plt")), "{name}: {holes:?}"),
            // GNU as makes tables there only when it is asked to, and most of this libc was not.
            _ => {}
        }
        assert_eq!(dwarf.not_judged, 0, "{cpu}: {name}");
        if found.is_empty() {
            assert_eq!(dwarf.wrong, 0, "{cpu}: {name}");
            assert!(cpu != "x86_64" || dwarf.exact == Some(rows.points), "{cpu}: {name}: {dwarf:?}");
        }
        reasons.extend(found);
    }
    // The resolver of riscv64 runs only in a process.
    let expected = KNOWN.iter().filter(|known| known.cpu == cpu && cpu != "riscv64").map(|known| known.reason);
    assert_eq!(reasons, expected.collect(), "{cpu}: what is known is found");
}

#[test]
fn the_table_has_forty_functions() {
    let functions: BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    assert!(functions.len() >= 40, "{}", functions.len());
}

/// From the first instruction of the dynamic loader to `exit_group`.
#[test]
fn a_shipped_program_of_this_machine_is_walked_from_its_first_instruction_to_its_exit() {
    let file = Path::new("/bin/true");
    let Ok(launch) = Launch::open(file, Some(PathBuf::from("/"))) else {
        return skip("a_shipped_program_of_this_machine", "/bin/true is not there, or for another CPU");
    };
    let scenario = process(launch, &Asked { max_visits: Some(1), ..Asked::default() }).expect("it runs");
    assert_eq!(scenario.process().and_then(|process| process.shown.status), Some(0));
    let section = judge(&scenario);
    assert_eq!(section.void, None);
    let dwarf = section.column("dwarf").expect("it has CFI").counters;
    assert!(dwarf.walks == section.points && dwarf.walks > 5000, "{dwarf:?}");
    assert_eq!((dwarf.unsound, dwarf.overstated, dwarf.wrong_flagged, dwarf.crashed), (0, 0, 0, 0));
    // All but crt code is walked; the start of the loader has no rows, so walks from it do not prove that they are complete.
    assert!(dwarf.incomplete * 50 < dwarf.walks && dwarf.exact > 0 && dwarf.cautious > 0, "{dwarf:?}");
    let rows = checked(&scenario);
    let wrong = |function: &&FunctionRows| function.tables.iter().any(|table| !table.wrong.is_empty());
    assert!(rows.functions.iter().find(wrong).is_none(), "{:?}", rows.functions.iter().find(wrong));
}

/// The resolver of lazily bound functions, which every dynamic program for riscv64 runs.
#[test]
fn the_resolver_of_riscv64_is_a_known_defect() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cpu, compiler, sysroot) = TOOLS[2];
    let loader = Path::new(sysroot).join("lib/ld-linux-riscv64-lp64d.so.1");
    let source = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";
    let Some(file) = compile(folder.path(), compiler, cpu, source, &["-Wl,-z,lazy"]) else { return };
    let asked =
        Asked { max_visits: Some(1), within: vec!["ld-linux-riscv64-lp64d.so.1".to_owned()], ..Asked::default() };
    let scenario = process(launch(&file, sysroot), &asked).expect("it runs");
    let module = Module::load(&loader).expect("it is an ELF file");
    assert_eq!(wrong(&checked(&scenario), &module), BTreeSet::from([KNOWN[2].reason]));
    // A walk through its frame finds the resolver again and again, or stops there: it is never said to be exact.
    let of_fixup = judge(&scenario);
    assert!(
        of_fixup.column("dwarf").is_some_and(|column| column.counters.wrong_flagged + column.counters.incomplete > 0)
    );
    assert!(of_fixup.findings.iter().all(|finding| finding.verdict != Verdict::Exact));
}

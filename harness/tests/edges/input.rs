//! Bad guests and bad paths.

use std::os::unix::fs::symlink;
use std::rc::Rc;

use serde_json::Value;
use unwind_harness::cpu::MAX_CALLEE_SAVED;
use unwind_harness::guest::conventions::Preserved;
use unwind_harness::oracle::{Activation, Cause, MAX_DEPTH, MAX_LINKS, Truth};
use unwind_harness::scenario::Scenario;
use unwind_harness::suite::machine;
use unwind_harness::trace::{Action, Observer, Point, Run as _, Unobserved};

use super::{CALL, ENDLESS, LOCKED, LOOP, Root, json, leaf, planted, root, text};

const LEAF: &str = "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n";

#[test]
fn a_guest_that_calls_itself_without_end_is_void() {
    for cpu in ["arm64", "riscv64"] {
        let root = Root::of(&format!("recursion-{cpu}"), cpu, CALL, "guest = \"bad\"\n");
        let says =
            format!("leaf calls itself without end: {} of {MAX_DEPTH} activations wait at leaf+0x4", MAX_DEPTH - 3);
        for command in [&["run"][..], &["check"], &["run", "--log", "bad.log"], &["judge", "bad.log"]] {
            let output = root.run(command);
            assert_eq!(output.status.code(), Some(3), "{cpu} {command:?}: {}", text(&output.stderr));
            assert!(text(&output.stdout).contains(&says), "{cpu} {command:?}: {}", text(&output.stdout));
        }
        let output = root.run(&["explain", &format!("{cpu}/bad"), "leaf+0x0#2"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(&says), "{}", text(&output.stdout));
    }
    // Each call takes a word of the stack, which is full long before.
    let root = Root::of("recursion-x86_64", "x86_64", CALL, "guest = \"bad\"\n");
    let output = root.run(&["run"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let says = "scenarios/x86_64/bad.toml: guest = \"bad\": guest bad: write in";
    assert!(text(&output.stdout).contains(says), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(" at leaf+0x0, after "), "{}", text(&output.stdout));
}

/// A truth that is deep, but not endless, costs every reader a bounded amount.
#[test]
fn a_deep_truth_is_shown_in_part() {
    let root = Root::of("deep", "arm64", CALL, "guest = \"bad\"\nbudget = 90000\n");
    let output = root.run(&["run"]);
    assert!(text(&output.stdout).contains("no end within the budget of 90000"), "{}", text(&output.stdout));
    // Void at its end, it has shown thousands of walks until then, each with its evidence.
    root.scenario("arm64", "bad", "guest = \"bad\"\nmax-visits = 3000\n[must]\nframe-record = \"any\"\n");
    assert_eq!(root.run(&["run", "--json", "deep.json"]).status.code(), Some(3));
    let size = std::fs::metadata(root.path("deep.json")).expect("the report").len();
    assert!(size < 1_000_000, "{size} bytes");
    let output = root.run(&["explain", "arm64/bad", "leaf+0x0#3000"]);
    assert!(text(&output.stdout).contains("and 2490 older activations"), "{}", text(&output.stdout));
    assert!(output.stdout.len() < 1_000_000, "{} bytes", output.stdout.len());
}

/// Nothing recursive depends on a guest's depth.
#[test]
fn a_long_list_of_activations_is_dropped_and_printed() {
    let mut youngest = None;
    for number in 0..1_000_000_u64 {
        youngest = Some(Rc::new(Activation {
            resume: number,
            cfa: number,
            saved: [0; MAX_CALLEE_SAVED],
            preserved: Preserved::ALL,
            entry: 0,
            links: [0; MAX_LINKS],
            stack: None,
            cause: Cause::Call,
            depth: number as usize + 1,
            serial: 0,
            parent: youngest.take(),
        }));
    }
    let truth = Truth::new(youngest);
    let (kept, part) = (truth.without(500_000), truth.of_kernel());
    assert_eq!((truth.depth(), kept.depth(), part.depth()), (1_000_000, 500_000, 1_000_000));
    let shown = format!("{truth:?}");
    assert!(shown.len() < 1000, "{shown}");
    drop(truth);
    drop(part);
    assert_eq!(kept.activations().count(), 500_000);
}

#[test]
fn one_bad_guest_leaves_the_others_judged() {
    let root = Root::new("others");
    for cpu in ["arm64", "riscv64", "x86_64"] {
        root.guest(cpu, "leaf", &leaf(cpu));
        root.scenario(cpu, "leaf", LEAF);
    }
    root.run(&["run", "--json", "alone.json"]);
    root.guest("arm64", "bad", &planted("arm64", LOOP));
    root.scenario("arm64", "loop", "guest = \"bad\"\nbudget = 3000\n");
    root.guest("riscv64", "bad", &planted("riscv64", CALL));
    root.scenario("riscv64", "recursion", "guest = \"bad\"\n");
    root.scenario("x86_64", "absent", "guest = \"absent\"\n");
    root.guest("x86_64", "text", b"this is no ELF file");
    root.scenario("x86_64", "text", "guest = \"text\"\n");
    root.guest("x86_64", "names", &with_long_names());
    root.scenario("x86_64", "names", "guest = \"names\"\n");
    root.fifo("guests/x86_64/fifo.elf");
    root.scenario("x86_64", "fifo", "guest = \"fifo\"\n");
    let sparse = std::fs::File::create(root.path("guests/x86_64/sparse.elf")).expect("a file");
    sparse.set_len(1 << 40).expect("a sparse file");
    root.scenario("x86_64", "sparse", "guest = \"sparse\"\n");

    let output = root.run(&["run", "--all", "--json", "all.json"]);
    let (table, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{table}{error}");
    let why = "scenarios/arm64/loop.toml: guest = \"bad\": guest bad: no end within the budget of 3000";
    assert!(error.contains(&format!("6 of 10 runs not judged; the first: arm64/loop probe: {why}")), "{error}");
    for part in [
        why,
        "void: at leaf+0x0: leaf calls itself without end",
        "scenarios/x86_64/absent.toml: guest = \"absent\": guests/x86_64/absent.elf: No such file",
        "guests/x86_64/text.elf: cannot be used: ",
        "guests/x86_64/names.elf: cannot be used: the names of its symbols have more than 0x10000000 bytes",
        "guests/x86_64/fifo.elf: it is a FIFO",
        "guests/x86_64/sparse.elf: it has 1099511627776 bytes",
        "6 of 10 runs not judged",
    ] {
        assert!(table.contains(part), "should say {part:?}:\n{table}");
    }
    assert!(!table.contains("all gates hold"), "{table}");
    let (alone, all) = (json(&root.path("alone.json")), json(&root.path("all.json")));
    let list = |document: &Value| document["scenarios"].as_array().cloned().expect("a list");
    let good: Vec<Value> = list(&all).into_iter().filter(|it| it["name"].to_string().ends_with("/leaf\"")).collect();
    assert_eq!(good, list(&alone), "the verdicts of the others");
    assert_eq!((&all["totals"]["not_judged"], &all["totals"]["void"]), (&6.into(), &1.into()));
    assert_eq!(all["partial"], Value::Null, "nothing is missing: that they failed is known");

    let output = root.run(&["check", "--json", "rows.json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let rows = json(&root.path("rows.json"));
    let judged =
        |it: &&Value| it["not_judged"].is_null() && it["functions"].as_array().is_some_and(|it| !it.is_empty());
    assert_eq!(rows["rows"].as_array().expect("a list").iter().filter(judged).count(), 3, "{rows}");
    // A log without the runs that failed is no whole one.
    assert_eq!(root.run(&["run", "--log", "all.log"]).status.code(), Some(2));
    let output = root.run(&["judge", "all.log"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the log is partial: 4 of 10 runs are whole"), "{}", text(&output.stdout));
}

/// An ELF file of 2 MB whose symbols' names have half a terabyte: each is the rest of one long string.
fn with_long_names() -> Vec<u8> {
    const NAMES: usize = 1_000_000;
    const SYMBOLS: usize = 40_000;
    let mut elf = leaf("x86_64");
    elf.resize(elf.len().next_multiple_of(8), 0);
    let names = elf.len();
    elf.extend(std::iter::repeat_n(b'x', NAMES));
    elf.extend([0; 8]);
    let symbols = elf.len();
    for index in 0..SYMBOLS as u32 {
        elf.extend(index.to_le_bytes());
        elf.extend([0x12, 0, 1, 0]); // a global function in section 1
        elf.extend(0xffff_ffff_8100_0000_u64.to_le_bytes());
        elf.extend(4_u64.to_le_bytes());
    }
    let table = elf.len();
    let section = |kind: u32, offset: usize, size: usize, link: u32, entry: u64| {
        let mut header = vec![0; 4];
        header.extend(kind.to_le_bytes());
        header.extend([0; 16]);
        header.extend((offset as u64).to_le_bytes());
        header.extend((size as u64).to_le_bytes());
        header.extend(link.to_le_bytes());
        header.extend([0; 12]);
        header.extend(entry.to_le_bytes());
        header
    };
    elf.extend([0; 64]);
    elf.extend(section(3, names, NAMES + 8, 0, 0)); // SHT_STRTAB
    elf.extend(section(2, symbols, 24 * SYMBOLS, 1, 24)); // SHT_SYMTAB
    elf[40..48].copy_from_slice(&(table as u64).to_le_bytes()); // e_shoff
    elf[58..64].copy_from_slice(&[64, 0, 3, 0, 1, 0]); // e_shentsize, e_shnum, e_shstrndx
    elf
}

#[test]
fn a_root_is_not_left() {
    let root = Root::new("inside");
    root.guest("arm64", "leaf", &leaf("arm64"));
    std::fs::write(root.path("guests/leaf.elf"), leaf("arm64")).expect("a file");
    let absolute = root.path("guests/arm64/leaf").to_str().expect("text").to_owned();
    for name in ["../leaf", "../arm64/leaf", "x/../leaf", "./leaf", "leaf/", "", "/etc/passwd", &*absolute] {
        for key in ["guest = NAME", "guest = \"leaf\"\n[[variant]]\nname = \"a\"\nguest = NAME"] {
            root.scenario("arm64", "own", &key.replace("NAME", &format!("{name:?}")));
            root.refused(&["run"], &["scenarios/arm64/own.toml", "guest = ", "is not the stem of a file"]);
        }
    }
    symlink(super::root().join("guests/arm64/leaf.elf"), root.path("guests/arm64/out.elf")).expect("a link");
    symlink("leaf.elf", root.path("guests/arm64/in.elf")).expect("a link");
    root.scenario("arm64", "own", "guest = \"in\"\n[must]\nframe-record = \"any\"\n");
    assert_eq!(root.run(&["run"]).status.code(), Some(0));
    root.scenario("arm64", "own", "guest = \"out\"\n");
    let output = root.run(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    let says = "scenarios/arm64/own.toml: guest = \"out\": guests/arm64/out.elf: it leads to ";
    assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("out of the root"), "{}", text(&output.stderr));
    // A scenario that lies elsewhere is not the root's own either; a root that is a link itself is.
    std::fs::remove_file(root.path("scenarios/arm64/own.toml")).expect("it was there");
    symlink(super::root().join("scenarios/arm64/leaf.toml"), root.path("scenarios/arm64/own.toml")).expect("a link");
    root.refused(&["run"], &["scenarios/arm64/own.toml: it leads to ", "out of the root"]);
    std::fs::remove_file(root.path("scenarios/arm64/own.toml")).expect("it was there");
    root.scenario("arm64", "own", "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n");
    symlink(".", root.path("link")).expect("a link");
    assert_eq!(root.run(&["run", "--root", "link"]).status.code(), Some(0));
}

#[test]
fn unknown_values_name_the_known_ones() {
    let hooks = "bpf, fgraph, ftrace, kretprobe, livepatch, rethook";
    let fixes = "F0, F2, F3, F4, F5, record, records, undefined";
    for (text, says) in [
        ("return-hook = \"magic\"", &["line 2", "\"magic\"", hooks][..]),
        ("return-hook = \"fgraph,\"", &["line 2", "special case"]),
        ("rewriter = \"fgraph\"", &["line 2", "rewriter", "return-hook"]),
        ("[[variant]]\nname = \"a\"\nreturn-hook = \"magic, sdei\"", &["line 4", hooks]),
        ("return-hook = \"fgraph\"\n[[variant]]\nname = \"a\"\nfix = \"F1\"", &["line 5", "\"F1\"", fixes]),
        ("return-hook = \"fgraph\"\n[[variant]]\nname = \"a\"\ndesign = \"F3\"", &["line 5", "design", "fix"]),
        ("[[variant]]\nname = \"a\"\nfix = \"F3\"", &["variant a", "no return-hook"]),
        ("cpu = \"min\"", &["line 2", "plain", "max"]),
        ("nested = \"irq\"", &["line 2", "nmi", "serror"]),
        ("only = [\"mips\"]", &["mips", "arm64, riscv64, x86_64"]),
        (
            "[[variant]]\nname = \"a\"\n[[known]]\nunwinder = \"dwarf\"\nat = \"leaf\"\nverdict = \"~\"\nvariant = \"b\"\nbecause = \"no\"",
            &["no variant \"b\"", "{\"a\"}"],
        ),
        ("budget = 1000000000000", &["1000000000000", "at most 1000000000"]),
    ] {
        let path = root().join("scenarios/arm64/own.toml");
        let error = Scenario::parse(&path, &format!("guest = \"leaf\"\n{text}\n")).expect_err("an error").to_string();
        for part in says {
            assert!(error.contains(part), "{text:?} should say {part:?}:\n{error}");
        }
    }
    let many =
        |name: &str| format!("[{}]", (0..400).map(|it| format!("\"{name}{it}\"")).collect::<Vec<_>>().join(", "));
    let known = format!(
        "guest = \"leaf\"\n[[known]]\nunwinder = {}\nat = {}\nverdict = [\"~\", \"=\"]\nbecause = \"too many\"\n",
        many("u"),
        many("f")
    );
    let error = Scenario::parse(&root().join("scenarios/arm64/own.toml"), &known).expect_err("an error").to_string();
    assert!(error.contains("more than 100000 deviations"), "{error}");

    let root = Root::of("unknown", "arm64", LOOP, &format!("return-hook = \"fgraph\"\n{ENDLESS}"));
    root.refused(&["atlas", "--return-hook", "magic"], &["--return-hook magic", hooks]);
    root.refused(&["atlas", "--fix", "F9"], &["--fix F9", fixes, "F1, range"]);
    root.refused(&["atlas", "--unwinder", "magic"], &["--unwinder magic", "frame-record"]);
    root.scenario("arm64", "bad", &format!("claims = [\"R-9\"]\n{ENDLESS}"));
    std::fs::create_dir(root.path("docs")).expect("a folder");
    std::fs::write(root.path("docs/claims.toml"), "[[claim]]\nid = \"R-1\"\nsays = \"\"\n").expect("a file");
    root.refused(
        &["findings"],
        &["scenarios/arm64/bad.toml: claims: \"R-9\" is not in docs/claims.toml, which has R-1"],
    );
}

#[test]
fn what_never_ends_is_not_read() {
    let root = Root::new("fifo");
    let fifo = root.fifo("scenarios/arm64/own.toml");
    let fifo = fifo.to_str().expect("text");
    root.refused(&["run"], &["scenarios/arm64/own.toml: it is a FIFO", "regular files"]);
    for path in [fifo, "/dev/zero", "/dev/tty", "."] {
        for arguments in [
            &["judge", path][..],
            &["sframe", "dump", path],
            &["sframe", "dump", "--json", path],
            &["sframe", "validate", path],
            &["sframe", "encode", path, "-o", "copy"],
        ] {
            root.refused(arguments, &[path, ": it is a "]);
        }
    }
    let sparse = std::fs::File::create(root.path("sparse")).expect("a file");
    sparse.set_len(1 << 40).expect("a sparse file");
    root.refused(&["judge", "sparse"], &["sparse: it does not begin with uwh-log1"]);
    root.refused(&["sframe", "encode", "sparse", "-o", "copy"], &["sparse: it has 1099511627776 bytes"]);
    assert_eq!(root.names(), ["sparse"]);
}

#[test]
fn a_folder_of_scenarios_that_cannot_be_read_is_no_empty_one() {
    let root = Root::new("unreadable");
    root.guest("arm64", "leaf", &leaf("arm64"));
    root.scenario("arm64", "own", LEAF);
    std::fs::remove_dir(root.path("scenarios/riscv64")).expect("it was empty");
    assert_eq!(root.run(&["run"]).status.code(), Some(0));
    std::fs::write(root.path("scenarios/riscv64"), "no folder").expect("a file");
    root.refused(&["run"], &["scenarios/riscv64: Not a directory"]);
}

/// The observer works inside of the emulator's hook, through which no panic may unwind.
#[test]
fn a_panic_at_a_point_is_no_abort() {
    struct Panics;
    impl Observer for Panics {
        fn point(&mut self, at: &Point<'_>) -> Action {
            assert!(at.previous.is_none(), "the second point is bad");
            Action::Continue
        }
    }
    let scenario = Scenario::load(&root().join("scenarios/arm64/leaf.toml")).expect("it loads");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
    let mut machine = machine(&program, &scenario.text).expect("a machine");
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.drive(&mut Panics)));
    let panic = ended.expect_err("the panic arrives here");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the second point is bad"));
    assert!(machine.drive(&mut Unobserved).expect("another run").complete);
}

/// The emulator's translator aborts at a locked `btr` of a register, which does not exist. No run survives that, but it is said which did
/// it, and where.
#[test]
fn where_the_emulator_aborts_is_said() {
    let root = Root::of("aborts", "x86_64", LOCKED, "guest = \"bad\"\n[must]\nframe-record = \"any\"\n");
    let says = [
        "error: x86_64: bad: the emulator aborted after caller+0x9: it cannot translate",
        "No run of this command was judged",
    ];
    root.refused(&["run", "--jobs", "2"], &says);
    root.refused(&["run", "--json", "report.json"], &says);
    assert_eq!(root.names(), Vec::<String>::new());
}

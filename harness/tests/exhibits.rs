//! `museum` (docs/museum.md): each exhibit's bug is caught before its fix and not reported after it; and whatever is not so is said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Parser as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use unwind_harness::cli::Cli;
use unwind_harness::interrupt::Interrupt;
use unwind_harness::museum::{Exhibit, Group, Judged, Status, load, markdown, visit};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| load(root()).expect("the exhibits load"))
}

fn judged(selected: &[Group]) -> Judged {
    visit(root(), selected, groups(), None, &Interrupt::default()).expect("it runs")
}

/// One exhibit in a group of its own.
fn alone(name: &str, change: impl FnOnce(&mut Exhibit)) -> [Group; 1] {
    let group = groups().iter().find(|group| group.exhibits.iter().any(|exhibit| exhibit.name == name));
    let mut group = group.unwrap_or_else(|| panic!("no exhibit {name}")).clone();
    group.exhibits.retain(|exhibit| exhibit.name == name);
    change(&mut group.exhibits[0]);
    [group]
}

#[test]
fn every_bug_is_caught_before_its_fix_and_none_is_reported_after_it() {
    let judged = judged(groups());
    let broken: Vec<_> = judged.exhibits.iter().filter(|result| result.status != Status::Holds).collect();
    assert!(judged.holds(), "{broken:#?}\n{:#?}", judged.problems);
}

/// An exhibit whose bug is not there is missed, whichever column was to see it.
#[test]
fn an_exhibit_without_its_bug_is_missed() {
    for name in ["llvm-hoisted-add-rsp", "probestack-no-cfi", "arrow-go-fp", "irqstack-one-insn-window"] {
        let selected = alone(name, |exhibit| exhibit.defective.variant = Some("fixed".to_owned()));
        let judged = judged(&selected);
        assert_eq!(judged.exhibits[0].status, Status::Missed, "{name}: {:?}", judged.exhibits[0].problems);
        assert!(judged.exhibits[0].problems.iter().all(|problem| problem.starts_with("missed before")), "{name}");
        assert!(!judged.holds());
    }
}

#[test]
fn a_fix_that_is_none_is_reported() {
    for name in ["llvm-hoisted-add-rsp", "irqstack-one-insn-window"] {
        let selected = alone(name, |exhibit| exhibit.fixed.variant = Some("defective".to_owned()));
        let judged = judged(&selected);
        assert_eq!(judged.exhibits[0].status, Status::Reported, "{name}: {:?}", judged.exhibits[0].problems);
    }
}

/// Another verdict, another instruction, or one instruction too few: none of them is what the exhibit says.
#[test]
fn what_is_caught_otherwise_is_missed() {
    let changes: [fn(&mut Exhibit); 4] = [
        |exhibit| exhibit.caught_by[1].verdict = Some("!skipped".to_owned()),
        |exhibit| exhibit.caught_by[0].wrong = Some("saved".to_owned()),
        |exhibit| exhibit.caught_by[0].at[0].last += 2,
        |exhibit| exhibit.caught_by[0].at[0].last -= 2,
    ];
    for change in changes {
        let judged = judged(&alone("llvm-hoisted-add-rsp", change));
        assert_eq!(judged.exhibits[0].status, Status::Missed, "{:?}", judged.exhibits[0]);
    }
}

/// Clean means that something was looked at.
#[test]
fn a_fix_that_nobody_looked_at_is_not_clean() {
    let judged = judged(&alone("llvm-hoisted-add-rsp", |exhibit| exhibit.fixed.functions = vec!["no_such".to_owned()]));
    assert_eq!(judged.exhibits[0].status, Status::Reported);
    assert!(judged.exhibits[0].problems[0].contains("judges nothing in no_such"), "{:?}", judged.exhibits[0].problems);
}

/// Of a run in the museum every deviation belongs to an exhibit.
#[test]
fn what_no_exhibit_accounts_for_breaks_the_gate() {
    let selected = alone("llvm-hoisted-add-rsp", |_| {});
    let judged = visit(root(), &selected, &selected, None, &Interrupt::default()).expect("it runs");
    assert_eq!(judged.exhibits[0].status, Status::Holds);
    assert!(judged.problems.iter().any(|problem| problem.contains("mid_ret")), "{:?}", judged.problems);
    assert!(!judged.holds());
}

/// The scenarios and the guests of the museum's own that some exhibit uses are all that there are, and the ELFs are what their sources
/// say.
#[test]
fn everything_in_the_museum_is_shown() {
    let museum = root().join("harness/museum");
    let mut scenarios = BTreeSet::new();
    let mut elfs = BTreeSet::new();
    for exhibit in groups().iter().flat_map(|group| &group.exhibits) {
        for run in [exhibit.with_bug(root()), exhibit.without_bug(root())].into_iter().filter(|run| run.is_ours) {
            let scenario = run.load(root()).expect("it loads");
            let variants = scenario.variants();
            let variant = variants.iter().find(|variant| variant.name == run.variant).expect("it has the variant");
            elfs.insert(scenario.guest_path(&museum, variant));
            scenarios.insert(scenario.path);
        }
    }
    assert_eq!(files(&museum.join("scenarios"), "toml"), scenarios);
    assert_eq!(files(&museum.join("guests"), "elf"), elfs);
    let text = std::fs::read_to_string(museum.join("guests/MANIFEST.toml")).expect("the manifest is there");
    let manifest: Manifest = toml::from_str(&text).expect("it is TOML");
    assert_eq!(manifest.sha256.len(), elfs.len());
    for path in elfs {
        let label = path.strip_prefix(museum.join("guests")).expect("below guests").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("it is there");
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(manifest.sha256.get(&label), Some(&hash), "{label}");
    }
}

#[derive(Deserialize)]
struct Manifest {
    sha256: std::collections::BTreeMap<String, String>,
}

fn files(folder: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.insert(path);
        }
    }
    found
}

#[test]
fn the_page_has_the_tables_of_the_exhibits() {
    let page = std::fs::read_to_string(root().join("docs/museum.md")).expect("the page is there");
    let tables = markdown(groups());
    assert!(page.contains(&tables), "put the output of `unwind-harness museum --markdown` into docs/museum.md");
}

fn run(arguments: &[&str]) -> (String, Result<u8, String>) {
    run_in(root(), arguments)
}

fn run_in(root: &Path, arguments: &[&str]) -> (String, Result<u8, String>) {
    let root = root.to_string_lossy();
    let all = ["unwind-harness", "museum", "--root", &root].into_iter().chain(arguments.iter().copied());
    let mut out = Vec::new();
    let status = Cli::try_parse_from(all).expect("it parses").execute(&mut out).map_err(|error| error.to_string());
    (String::from_utf8(out).expect("text"), status)
}

#[test]
fn the_command_prints_a_line_for_a_group_and_all_of_what_a_filter_names() {
    let (text, status) = run(&["tail"]);
    assert_eq!(status, Ok(0));
    assert!(text.contains("coreclr-callee-pops  x86_64  caught before, clean after"), "{text}");
    let (text, status) = run(&["--arch", "riscv64"]);
    assert_eq!(status, Ok(0));
    assert!(text.starts_with(' ') && text.contains("\nall "), "{text}");
    let (json, status) = run(&["coreclr-callee-pops", "--json", "-"]);
    assert_eq!(status, Ok(0));
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["exhibits"][0]["status"], "holds");
    assert_eq!(json["totals"]["pairs"], 1);
}

#[test]
fn names_that_do_not_exist_are_errors() {
    for (arguments, expected) in [
        (&["corclr-callee-pops"][..], "did you mean coreclr-callee-pops?"),
        (&["--arch", "mips"], "--arch mips: no such CPU"),
        (&["coreclr-callee-pops", "--arch", "arm64"], "no exhibit has both"),
    ] {
        let (_, status) = run(arguments);
        let error = status.expect_err("it fails");
        assert!(error.contains(expected), "{error}");
    }
}

/// A root that has one group of exhibits, from this text, and the scenarios and guests that they name.
fn root_with(name: &str, exhibits: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exhibits").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    for (part, stem) in [("harness/museum/", "pac"), ("", "museum_clobbered_slot")] {
        let scenario = format!("{part}scenarios/arm64/{stem}.toml");
        let guest = |build: &str| format!("{part}guests/arm64/{stem}-{build}.elf");
        for file in [scenario, guest("defective"), guest("fixed")] {
            std::fs::create_dir_all(folder.join(&file).parent().expect("a folder")).expect("a new folder");
            std::fs::copy(root().join(&file), folder.join(&file)).expect("a new file");
        }
    }
    std::fs::create_dir_all(folder.join("harness/museum/exhibits")).expect("a new folder");
    std::fs::write(folder.join("harness/museum/exhibits/12-pac.toml"), exhibits).expect("a new file");
    folder
}

fn pac() -> String {
    std::fs::read_to_string(root().join("harness/museum/exhibits/12-pac.toml")).expect("the group is there")
}

/// The command fails for an exhibit whose defective half is the fixed one, and says what it missed.
#[test]
fn the_command_fails_if_a_bug_is_missed() {
    let (text, status) = run_in(&root_with("whole", &pac()), &[]);
    assert_eq!(status, Ok(0), "{text}");
    let swapped =
        pac().replacen("caught-by", "defective = { variant = \"fixed\" }\nfixed = { walk = \"sframe\" }\ncaught-by", 1);
    let (text, status) = run_in(&root_with("swapped", &swapped), &[]);
    assert_eq!(status, Ok(1), "{text}");
    assert!(text.contains("pac-row-early: missed before the fix: dwarf rows ra at early+0x4"), "{text}");
    let broken = pac().replacen("arm64/pac", "arm64/museum_clobbered_slot", 1);
    let (text, status) = run_in(&root_with("void", &broken), &[]);
    assert_eq!(status, Ok(2), "{text}");
    assert!(text.contains("pac-row-early: arm64/museum_clobbered_slot [defective]: void:"), "{text}");
}

#[test]
fn a_malformed_exhibit_is_an_error_that_names_it() {
    for (from, to, expected) in [
        ("scenario = \"arm64/pac\"", "scenario = \"arm64/pack\"", "scenarios/arm64/pack.toml"),
        ("wrong = \"ra\"", "wrong = \"rax\"", "pac-row-early: wrong = \"rax\" must be one of cfa, ra, fp, saved"),
        ("rows = \"dwarf\"", "rows = \"stabs\"", "pac-row-early: rows = \"stabs\": no such table"),
        ("walk = \"dwarf\"", "walk = \"dwarff\"", "pac-no-epilogue: walk = \"dwarff\": arm64 has no such unwinder"),
        ("verdict = \"!skipped\"", "verdict = \"!wrong\"", "pac-no-epilogue: \"!wrong\" is not a verdict"),
        ("verdict = \"!skipped\"", "verdict = \"=\"", "pac-no-epilogue: verdict = \"=\" is no deviation"),
        ("year = 2025", "year = \"2025\"", "12-pac.toml: TOML parse error at line"),
        ("at = [\"early+0x4\"]", "at = []", "pac-row-early: dwarf rows ra: `at` names no instruction"),
        ("pac-no-epilogue", "pac-row-early", "pac-row-early: another exhibit has this name"),
        ("caught-by", "fixed = { variant = \"defective\" }\ncaught-by", "pac-row-early: both halves are the same run"),
        ("caught-by", "fixed = { variant = \"mended\" }\ncaught-by", "no variant \"mended\"; it has defective, fixed"),
    ] {
        let text = pac();
        assert!(text.contains(from), "{from}");
        let (_, status) = run_in(&root_with("malformed", &text.replacen(from, to, 1)), &[]);
        let error = status.expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    let (_, status) = run_in(Path::new("/nowhere"), &[]);
    assert!(status.expect_err("no such root").contains("no folder `harness/museum/exhibits`"));
}

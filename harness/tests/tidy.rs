//! The lines that must not be crossed, as far as a search can see them. ARCHITECTURE.md says why each is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use unwind_harness::cpu::{self, ALL};
use unwind_harness::scenario::{Scenario, load_all};

/// No file is longer, unless it is listed with its reason.
const MAX_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with this extension, relative to the root, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).expect("below the root").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// What a run has written at the top level is not part of the project.
#[test]
fn nothing_else_is_at_the_top() {
    let top = [
        ".cargo",
        ".ci",
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-GPL-2.0",
        "LICENSE-MIT",
        "README.md",
        "clippy.toml",
        "deny.toml",
        "docs",
        "guests",
        "harness",
        "rustfmt.toml",
        "scenarios",
        "snapshots",
        "xtask",
    ];
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success() && !listed.stdout.is_empty()) else {
        println!("SKIPPED: not in a Git repository");
        return;
    };
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let first = |name: &[u8]| String::from_utf8_lossy(name).split('/').next().unwrap_or_default().to_owned();
    let others: BTreeSet<String> = names.map(first).filter(|name| !top.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a Rust file without comments, with their numbers. Strings with `//` in them do not occur in this project's
/// code in a way that matters here.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = read(path);
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned());
    (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()).collect()
}

/// Fails for each line of code in `folder` that contains one of `words`, outside of the files that own them.
fn only_in(folder: &str, words: &[&str], owners: &[&str]) {
    let mut found = Vec::new();
    for path in files(folder, "rs") {
        let name = path.to_string_lossy().into_owned();
        if owners.iter().any(|owner| name.starts_with(owner)) {
            continue;
        }
        for (number, line) in code(&path) {
            if words.iter().any(|word| line.to_lowercase().contains(word)) {
                found.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{words:?} only in {owners:?}:\n{}", found.join("\n"));
}

#[test]
fn the_oracle_and_the_unwinders_never_meet() {
    for path in files("harness/src/oracle", "rs") {
        for (number, line) in code(&path) {
            let place = format!("{}:{number}: {line}", path.display());
            assert!(!line.contains("kunwind"), "{place}");
            for word in ["crate::subject", "crate::verdict", "eh_frame", "sframe", "orc_", ".tables"] {
                assert!(!line.to_lowercase().contains(word), "{place}");
            }
            // The ABI is for unwinders; the oracle may use it only for the name of a register in a message.
            assert!(!line.contains(".abi") || line.contains("register_name"), "{place}");
        }
    }
}

#[test]
fn every_foreign_crate_has_one_owner() {
    only_in("harness/src", &["unicorn"], &["harness/src/machine/"]);
    let elf = ["harness/src/guest/elf.rs", "harness/src/sframe/", "harness/src/linux/boot/elf.rs", "harness/src/user/"];
    only_in("harness/src", &["object::"], &elf);
    only_in("harness/src", &["flate2", "xz4rust", "lz4_flex"], &["harness/src/linux/decompress.rs"]);
    only_in("harness/src", &["ruzstd"], &["harness/src/linux/decompress.rs", "harness/src/case/bytes.rs"]);
    only_in("harness/src", &["base64::"], &["harness/src/case/bytes.rs"]);
    only_in("harness/src", &["memchr"], &["harness/src/linux/bytes.rs"]);
    only_in("harness/src", &["capstone"], &["harness/src/guest/listing.rs", "harness/src/cpu/"]);
    only_in("harness/src", &["signal_hook"], &["harness/src/interrupt.rs", "harness/src/machine/abort.rs"]);
    only_in("harness/src", &["tempfile::"], &["harness/src/file.rs", "harness/src/file/"]);
    let of_descriptors =
        ["harness/src/sframe/source.rs", "harness/src/subject/remote/process.rs", "harness/src/machine/abort.rs"];
    only_in("harness/src", &["rustix"], &of_descriptors);
    only_in("harness/src", &["framehop::"], &["harness/src/subject/framehop.rs", "harness/src/subject/mod.rs"]);
    only_in("harness/src", &["gimli::"], &["harness/src/subject/gimli.rs", "harness/src/subject/mod.rs"]);
    only_in("harness/src", &["shlex"], &["harness/src/subject/remote/"]);
    only_in("harness/src", &["unsafe"], &["harness/src/machine/"]);
}

#[test]
fn a_cpu_is_named_only_in_its_folder() {
    let names = ["arm64", "aarch64", "riscv", "x86"];
    // Who asks for a trace is written in Linux CPU by CPU.
    let owners = [
        "harness/src/cpu/",
        "harness/src/machine/core/",
        "harness/src/guest/conventions/",
        "harness/src/subject/in_linux.rs",
        // The file formats that each CPU's boot loaders take.
        "harness/src/linux/boot/",
        // Where its code says that data is.
        "harness/src/linux/data/",
        // What a kernel has set up when it has booted.
        "harness/src/linux/state/",
        // How programs of each CPU meet the kernel.
        "harness/src/user/process/abi/",
        // Relocations and code of ours.
        "harness/src/user/of_cpu/",
        // Each format has the registers in an order of its own.
        "harness/src/export/of_cpu.rs",
        // The crates name what they know of CPUs after them.
        "harness/src/subject/framehop.rs",
        "harness/src/subject/gimli.rs",
        // Its test has names of Debian's releases.
        "harness/src/analysis/linux.rs",
    ];
    only_in("harness/src", &names, &owners);
    // A format numbers its ABIs itself.
    let owners = [
        "harness/kunwind/src/abi/",
        "harness/kunwind/src/kernel/",
        "harness/kunwind/src/sframe/format.rs",
        // A format of one CPU alone.
        "harness/kunwind/src/orc/",
        // gimli names its extensions for a machine after it.
        "harness/kunwind/src/dwarf/",
    ];
    only_in("harness/kunwind/src", &names, &owners);
}

#[test]
fn a_guests_symbols_are_named_only_in_its_conventions() {
    let symbols = [
        "\"__",
        "\"walk_",
        "\"guest_main",
        "\"task_",
        "\"ret_stack_",
        "\"rethooks",
        "\"return_to_handler",
        "\"nest_",
        "\"user_",
        "\"bpf_",
        "\"moved_return",
        "\"redirect_",
        "\"idt_",
        "\"vectors\"",
    ];
    // The hints of two errors say what a guest lacks.
    let owners = [
        "harness/src/guest/conventions/",
        "harness/src/guest/layout.rs",
        "harness/src/machine/",
        // The kernel's own.
        "harness/src/linux/",
        // The C library's.
        "harness/src/user/",
    ];
    only_in("harness/src", &symbols, &owners);
}

#[test]
fn library_code_prints_only_to_a_writer() {
    only_in("harness/src", &["println!", "eprint", "print!(", "dbg!"], &["harness/src/main.rs"]);
    only_in("harness/kunwind/src", &["println!", "eprint", "print!(", "dbg!"], &[]);
}

/// Half a file is worse than none: `file.rs` alone writes, and renames what is whole. It also refuses to read what never ends.
#[test]
fn files_are_read_and_written_in_one_place() {
    let owners = ["harness/src/file.rs", "harness/src/file/"];
    only_in("harness/src", &["fs::write", "file::create", "fs::rename", "fs::read(", "fs::read_to_string"], &owners);
}

#[test]
fn no_file_is_too_long_to_read() {
    for folder in ["harness/src", "harness/kunwind/src", "xtask/src", "harness/tests"] {
        for path in files(folder, "rs") {
            let lines = read(&path).lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn scenarios_and_snapshots_are_one_to_one() {
    let stems = |folder: &str, extension: &str| -> BTreeSet<PathBuf> {
        let prefix = Path::new(folder);
        files(folder, extension)
            .iter()
            // Those for kernel images have none: the images move.
            .filter(|path| path.components().count() > 2 && !path.starts_with("scenarios/linux"))
            .map(|path| path.strip_prefix(prefix).expect("below the folder").with_extension(""))
            .collect()
    };
    assert_eq!(stems("scenarios", "toml"), stems("snapshots", "snap"));
}

#[test]
fn every_guest_has_a_scenario() {
    let mut used = BTreeSet::new();
    for scenario in load_all(root()).expect("the scenarios load") {
        for variant in scenario.variants() {
            used.insert(scenario.guest_path(root(), &variant));
        }
    }
    let there: BTreeSet<_> = files("guests", "elf").iter().map(|path| root().join(path)).collect();
    assert_eq!(there, used);
}

/// `scenarios/ABSENT.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Absences {
    #[serde(default)]
    absent: Vec<Absent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Absent {
    scenario: String,
    cpu: String,
    because: String,
}

#[test]
fn a_scenario_exists_for_every_cpu_or_has_a_reason() {
    let absences: Absences = toml::from_str(&read(Path::new("scenarios/ABSENT.toml"))).expect("ABSENT.toml is TOML");
    let mut by_name: BTreeMap<String, Vec<Scenario>> = BTreeMap::new();
    for scenario in load_all(root()).expect("the scenarios load") {
        let (_, name) = scenario.name.split_once('/').expect("a scenario's name is <cpu>/<name>");
        by_name.entry(name.to_owned()).or_default().push(scenario);
    }
    let mut problems = Vec::new();
    for (name, scenarios) in &by_name {
        for cpu in ALL {
            let exists = scenarios.iter().any(|scenario| scenario.cpu.name == cpu.name);
            let only = scenarios.iter().map(|scenario| &scenario.text.only).find(|only| !only.is_empty());
            let is_meant = only.is_none_or(|only| only.iter().any(|name| name == cpu.name));
            let reason = absences.absent.iter().find(|absent| absent.scenario == *name && absent.cpu == cpu.name);
            if exists == reason.is_some() && is_meant {
                problems.push(format!("{}/{name}: missing without a reason, or there in spite of one", cpu.name));
            }
            if exists && !is_meant {
                problems.push(format!("{}/{name}: another CPU's file says `only`, and not for this one", cpu.name));
            }
        }
    }
    for absent in &absences.absent {
        if !by_name.contains_key(&absent.scenario) || cpu::by_name(&absent.cpu).is_none() {
            problems.push(format!("ABSENT.toml: {}/{} is not a scenario of any CPU", absent.cpu, absent.scenario));
        }
        if absent.because.trim().is_empty() {
            problems.push(format!("ABSENT.toml: {}/{} lacks its reason", absent.cpu, absent.scenario));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_deviation_has_a_reason() {
    for scenario in load_all(root()).expect("the scenarios load") {
        for known in &scenario.text.known {
            assert!(known.because.len() > 10, "{}: {known:?}", scenario.name);
        }
        for wrong in &scenario.text.wrong_rows {
            assert!(wrong.because.len() > 10, "{}: {wrong:?}", scenario.name);
        }
        assert!(
            read(scenario.path.strip_prefix(root()).expect("below the root")).starts_with("# "),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn snapshots_hold_no_addresses() {
    // Guests are linked at 0xffff800080000000, 0xffffffff80000000 and 0xffffffff81000000, in less than 16 MiB.
    for path in files("snapshots", "snap") {
        let text = read(&path);
        for (number, line) in (1..).zip(text.lines()) {
            for digits in line.split("0x").skip(1) {
                let digits: String = digits.chars().take_while(char::is_ascii_hexdigit).collect();
                let is_address = digits.starts_with("ffff80008") || digits.starts_with("ffffffff8");
                assert!(!is_address || digits.len() < 16, "{}:{number}: {line}", path.display());
            }
        }
    }
}

#[test]
fn snapshots_are_narrow_and_few() {
    /// In columns.
    const WIDEST: usize = 120;
    /// Of all together, in bytes.
    const MOST: usize = 2_000_000;
    let mut all = 0;
    for path in files("snapshots", "snap") {
        let text = read(&path);
        all += text.len();
        for (number, line) in (1..).zip(text.lines()) {
            let width = line.chars().count();
            assert!(width <= WIDEST, "{}:{number}: {width} columns: {line}", path.display());
        }
    }
    assert!(all <= MOST, "{all} bytes");
}

#[derive(Deserialize)]
struct Manifest {
    sha256: BTreeMap<String, String>,
}

#[test]
fn every_checked_in_elf_matches_its_hash() {
    let manifest: Manifest = toml::from_str(&read(Path::new("guests/MANIFEST.toml"))).expect("MANIFEST.toml is TOML");
    let mut hashes = BTreeMap::new();
    for path in files("guests", "elf") {
        let bytes = std::fs::read(root().join(&path)).expect("the file is there");
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix("guests").expect("below guests").to_string_lossy().into_owned();
        hashes.insert(name, hash);
    }
    assert_eq!(hashes, manifest.sha256);
}

/// A test file that `main.rs` does not name is never compiled, and its tests never fail.
#[test]
fn every_test_file_is_a_module_of_its_executable() {
    for folder in ["harness/tests", "harness/kunwind/tests"] {
        let main = read(&Path::new(folder).join("main.rs"));
        let named: BTreeSet<&str> =
            main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
        let top = files(folder, "rs").into_iter().filter_map(|path| {
            let mut parts = path.strip_prefix(folder).ok()?.components();
            let first = Path::new(parts.next()?.as_os_str()).file_stem()?.to_str()?.to_owned();
            (first != "main").then_some(first)
        });
        let there: BTreeSet<String> = top.collect();
        assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), named, "{folder}");
    }
}

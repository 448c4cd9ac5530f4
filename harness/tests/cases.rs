//! Frozen cases: what is run from a case gives the walks of the guest, and what a case does not hold or say is never a verdict.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::{Table, Value};
use unwind_harness::case::Case;
use unwind_harness::recording::Recording;
use unwind_harness::scenario::{Scenario, Variant, load_all};
use unwind_harness::suite::{Freeze, Options, freeze, run_all};

use crate::linux_packages::images_of;

const PAGE: usize = 0x1000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Guests of our own: interrupts in a kernel, a traced one, tasks that are switched out, nested exceptions, and a program.
const OWN: [&str; 7] = [
    "arm64/irq_on_task",
    "arm64/fgraph",
    "arm64/leaf",
    "arm64/nested_irq_nmi",
    "riscv64/blocked_task",
    "riscv64/irq_on_irq_stack",
    "x86_64/irq_on_irq_stack",
];

/// The first variant of a scenario.
fn scenario(name: &str) -> (Scenario, Variant) {
    let all = load_all(root()).expect("the scenarios load");
    let scenario = all.into_iter().find(|scenario| scenario.name == name).expect("it is there");
    let variant = scenario.variants().remove(0);
    (scenario, variant)
}

fn frozen(name: &str) -> (Recording, String) {
    let (scenario, variant) = scenario(name);
    let kinds = &scenario.text.interrupt;
    let what = Freeze { root: root(), scenario: &scenario, variant: &variant, kinds, command: "a test" };
    let (recording, case) = freeze(what, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    (recording, case.expect("it is whole").to_text().expect("text"))
}

/// Runs the text of a case, where there is nothing else.
fn replayed(text: &str) -> Recording {
    let case = Case::parse(Path::new("a.case"), text).unwrap_or_else(|error| panic!("{error}"));
    let unwinders = case.unwinders.clone();
    let scenario = Scenario::of_case(&Arc::new(case)).unwrap_or_else(|error| panic!("{error}"));
    let options = Options { unwinders, keep_going: true, ..Options::default() };
    run_all(Path::new("/nowhere"), &[scenario], &options).expect("it runs").0
}

/// What was printed, without the first line, which says how long it took.
fn untimed(text: &str) -> Option<&str> {
    text.split_once('\n').map(|(_, rest)| rest)
}

/// A run without its listings, of which a case shows only what its pages hold, and without what compares it with a recorded one.
fn comparable(mut recording: Recording) -> Recording {
    for section in &mut recording.sections {
        section.functions.clear();
        section.failures.clear();
        section.target = None; // a command names a case as --case FILE
        section.agreements.retain(|agreement| agreement.model != unwind_harness::recording::RECORDED);
    }
    recording
}

#[test]
fn a_case_gives_what_its_guest_gave() {
    for name in OWN {
        let (then, text) = frozen(name);
        let now = replayed(&text);
        assert!(now.sections.iter().all(|section| section.not_judged.is_none() && section.points > 0), "{name}");
        for section in &now.sections {
            let recorded: Vec<_> = section.agreements.iter().collect();
            assert!(!recorded.is_empty(), "{name}: nothing was compared");
            assert!(recorded.iter().all(|it| it.points > 0 && it.differ == 0), "{name}: {recorded:?}");
            assert!(section.failures.is_empty(), "{name}: {:?}", section.failures);
        }
        assert_eq!(comparable(now), comparable(then), "{name}");
        // A case that is frozen again is the same file.
        assert_eq!(
            Case::parse(Path::new("a.case"), &text).expect("it is read").to_text().expect("text"),
            text,
            "{name}"
        );
    }
}

fn pages(case: &Table) -> (Vec<u64>, Vec<u8>) {
    let page = case["page"][0].as_table().expect("a table");
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("hexadecimal");
    let ranges = page["address"].as_array().expect("an array").iter().map(|range| {
        let (low, high) = range.as_str().expect("text").split_once("..").expect("a range");
        (number(low)..number(high)).step_by(PAGE)
    });
    let letters: String = page["data"].as_str().expect("text").split_whitespace().collect();
    let packed = STANDARD.decode(letters).expect("base64");
    let mut data = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&*packed).expect("zstd");
    std::io::Read::read_to_end(&mut decoder, &mut data).expect("zstd");
    (ranges.flatten().collect(), data)
}

fn with_pages(case: &Table, addresses: &[u64], data: &[u8]) -> String {
    let packed = ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest);
    let ranges = addresses.iter().map(|at| Value::from(format!("{at:#x}..{:#x}", at + PAGE as u64)));
    let mut page = Table::new();
    page.insert("address".to_owned(), Value::Array(ranges.collect()));
    page.insert("data".to_owned(), Value::from(STANDARD.encode(packed)));
    let mut case = case.clone();
    case.insert("page".to_owned(), Value::Array(vec![Value::Table(page)]));
    toml::to_string(&case).expect("text")
}

/// Each page of a case is used, so without any one of them nothing is judged, and the page is named.
#[test]
fn a_page_that_is_missing_is_no_verdict() {
    for name in ["arm64/irq_on_task", "x86_64/irq_on_irq_stack", "arm64/fgraph"] {
        let case: Table = frozen(name).1.parse().expect("TOML");
        let (addresses, data) = pages(&case);
        assert!(addresses.len() > 3 && data.len() == addresses.len() * PAGE, "{name}");
        for missing in 0..addresses.len() {
            let mut left = addresses.clone();
            let page = left.remove(missing);
            let data = [&data[..missing * PAGE], &data[(missing + 1) * PAGE..]].concat();
            let recording = replayed(&with_pages(&case, &left, &data));
            // A page may be used by some kinds of interruption only; what is judged without it is as it was.
            let reasons: Vec<_> = recording.not_judged().map(|(_, reason)| reason.to_owned()).collect();
            let says = format!("not in this case: page {page:#x}");
            assert!(
                !reasons.is_empty() && reasons.iter().all(|reason| reason.contains(&says)),
                "{name}: {page:#x}: {reasons:?}"
            );
            let differ = recording.sections.iter().flat_map(|section| &section.agreements).find(|it| it.differ > 0);
            assert_eq!(differ, None, "{name}: without {page:#x}");
        }
    }
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unwind-harness")).args(arguments).current_dir(root()).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[track_caller]
fn ends(status: i32, arguments: &[&str]) -> (String, String) {
    let output = program(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {out}{err}");
    assert!(!err.contains("panicked") && !err.contains("internal error"), "{err}");
    (out, err)
}

/// Where a test may write a file of this name.
fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

fn written(name: &str, text: &str) -> String {
    let path = path(name);
    std::fs::write(&path, text).expect("a new file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_case_is_a_target_of_run_and_explain() {
    let file = path("target.case").to_string_lossy().into_owned();
    let (then, _) = ends(0, &["run", "arm64/irq_on_task", "--interrupt", "irq", "--freeze", &file]);
    let empty = path("empty").to_string_lossy().into_owned();
    std::fs::create_dir_all(&empty).expect("a folder");
    let (now, _) = ends(0, &["run", "--case", &file, "--root", &empty]);
    assert_eq!(untimed(&now), untimed(&then));
    let (one, _) = ends(0, &["run", "--case", &file, "--unwinder", "arm64-kunwind"]);
    assert!(one.contains("arm64-kunwind@regs") && one.lines().count() < now.lines().count(), "{one}");
    let explain = ["explain", "arm64/irq_on_task", "body+0x8#1", "--interrupt", "irq", "--unwinder", "arm64-kunwind"];
    let (of_guest, _) = ends(0, &explain);
    let explain = ["explain", "--case", &file, "body+0x8#1", "--unwinder", "arm64-kunwind", "--root", &empty];
    let (of_case, _) = ends(0, &explain);
    assert_eq!(of_case, of_guest);
    // Both judge the same rows, in a guest of this name.
    let (of_guest, _) = ends(0, &["check", "arm64/irq_on_task"]);
    let (of_case, _) = ends(0, &["check", "--case", &file, "--root", &empty]);
    assert_eq!(of_case, of_guest);
    for (arguments, says) in [
        (&["atlas", "--case", &file][..], "the atlas"),
        (&["run", "--case", &file, "--unwinder", "linux"], "frozen with"),
        (&["run", "arm64/irq", "--freeze", &file], "takes one scenario"),
        (&["run", "arm64/irq_on_task", "--interrupt", "nmi2", "--freeze", &file], "--interrupt nmi2"),
        (&["run", "--case", "nowhere.case"], "nowhere.case"),
    ] {
        let (_, error) = ends(2, arguments);
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn a_walk_that_is_not_the_recorded_one_breaks_a_gate() {
    let text = frozen("arm64/irq_on_task").1;
    let mut case: Table = text.parse().expect("TOML");
    let walks = case["walks"][0].as_table_mut().expect("a table");
    let trace = walks["traces"].as_array_mut().expect("an array").last_mut().expect("a trace");
    *trace = Value::from(format!("{} < nobody+0x4", trace.as_str().expect("text")));
    let file = written("other.case", &toml::to_string(&case).expect("text"));
    let (out, _) = ends(1, &["run", "--case", &file]);
    for says in ["gate broken", "differs from the recorded walk at", "first at ", "recorded: ", "< nobody+0x4", "now: "]
    {
        assert!(out.contains(says), "should say {says:?}:\n{out}");
    }
}

/// What is damaged is named, with the file and the key.
#[test]
#[allow(clippy::too_many_lines, reason = "a table of damages")]
fn a_damaged_case_is_refused() {
    let good = frozen("arm64/irq_on_task").1;
    let case: Table = good.parse().expect("TOML");
    let with = |change: &dyn Fn(&mut Table)| {
        let mut case = case.clone();
        change(&mut case);
        toml::to_string(&case).expect("text")
    };
    let set = |key: &'static str, value: Value| with(&|case| drop(case.insert(key.to_owned(), value.clone())));
    let in_page = |key: &'static str, value: Value| {
        with(&|case| drop(case["page"][0].as_table_mut().expect("a table").insert(key.to_owned(), value.clone())))
    };
    let in_table = |table: &'static str, key: &'static str, value: Value| {
        with(&|case| drop(case[table].as_table_mut().expect("a table").insert(key.to_owned(), value.clone())))
    };
    let list = |text: &str| Value::Array(vec![Value::from(text)]);
    let map = |range: &str| {
        let mut table = Table::new();
        table.insert("range".to_owned(), Value::from(range));
        Value::Array(vec![Value::Table(table)])
    };
    let (addresses, data) = pages(&case);
    let twice: Vec<u64> = addresses.iter().chain(&addresses[..1]).copied().collect();
    let elsewhere: Vec<u64> = addresses.iter().skip(1).copied().chain([0x7000_0000_0000]).collect();
    let damaged = [
        (String::new(), "missing field"),
        (good[..good.len() / 2].to_owned(), ""),
        (set("format", Value::from(7)), "format = 7"),
        (set("arch", Value::from("vax")), "arch = \"vax\""),
        (set("arch", Value::from("riscv64")), "scenario = "),
        (set("memory", Value::from("user")), "memory: "),
        (set("stop", Value::from("here")), "\"here\" is no number"),
        (set("stop", Value::from("0x10000000000000000")), "no number of at most 64 bits"),
        (set("colour", Value::from("red")), "colour"),
        (set("text", Value::from("guest = ")), "text: "),
        (set("interrupt", list("sometimes")), "interrupt: "),
        (set("symbols", list("0x10 T")), "symbols: "),
        (set("mapped", map("0x1000..0x1234")), "mapped: "),
        (set("mapped", map("0x1000..0x7fffffff0000")), "mapped: "),
        (set("mapped", map("0x2000..0x1000")), "ends before it begins"),
        (in_page("data", Value::from("!")), "page: it is not base64"),
        (in_page("data", Value::from("AAAA")), "page: it is not zstd"),
        (in_page("address", list("0x1000..0x1001")), "page: "),
        (in_page("address", list("0x1000..0xffffffffff000")), "page: there are more than"),
        (with_pages(&case, &addresses[1..], &data), "more than that"),
        (with_pages(&case, &twice, &[&data[..], &data[..PAGE]].concat()), "is there twice"),
        (with_pages(&case, &elsewhere, &data), "0x700000000000 is not mapped"),
        (in_table("conventions", "arena", Value::from("0x10")), "no range"),
        (in_table("conventions", "colour", Value::from("red")), "colour"),
        (in_table("provenance", "licence", Value::from(1)), "licence"),
        (
            with(&|case| {
                drop(
                    case["stack"][0]
                        .as_table_mut()
                        .expect("a table")
                        .insert("bounds".to_owned(), Value::from("0x8..0x10")),
                )
            }),
            "stack ",
        ),
        (
            with(&|case| {
                drop(case["walks"][0].as_table_mut().expect("a table").insert("points".to_owned(), list("9 a+0x0#1")))
            }),
            "walks: points: ",
        ),
    ];
    for (text, says) in damaged {
        let file = written("damaged.case", &text);
        let output = program(&["run", "--case", &file]);
        let (out, error) = (self::text(&output.stdout), self::text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "should say {says:?}: {out}{error}");
        assert!(
            error.starts_with("error: ") && error.contains("damaged.case") && error.contains(says),
            "{says:?}: {error}"
        );
        assert!(!error.contains("panicked") && !error.contains("internal error"), "{error}");
    }
}

/// Every bit of a case counts: none that is flipped makes the program panic, or run for ever, or say more than that it differs.
#[test]
fn a_case_with_a_flipped_letter_does_no_harm() {
    let good = frozen("arm64/irq_on_task").1;
    let letters: Vec<usize> = good.char_indices().map(|(at, _)| at).collect();
    for step in 0..200 {
        let at = letters[step * 7919 % letters.len()];
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let Ok(case) = Case::parse(Path::new("a.case"), &text) else { continue };
        let unwinders = case.unwinders.clone();
        let Ok(scenario) = Scenario::of_case(&Arc::new(case)) else { continue };
        let options = Options { unwinders, keep_going: true, threads: Some(1), ..Options::default() };
        let recording = run_all(Path::new("/nowhere"), &[scenario], &options).expect("it ends").0;
        let internal = recording.not_judged().find(|(_, reason)| reason.contains("internal error"));
        assert_eq!(internal, None, "letter {at} of {:?}", &good[at.saturating_sub(40)..(at + 40).min(good.len())]);
    }
}

/// What a broken gate says to do must be possible where there is nothing but the case.
#[test]
fn a_broken_gate_of_a_case_names_the_case() {
    let (_, text) = frozen("arm64/irq_on_task");
    let broken =
        text.replace("frame-record = \"any\"", "frame-record = \"sound\"").replace("exact = 92 }", "exact = 100 }");
    assert_ne!(broken, text);
    let case = Case::parse(Path::new("a.case"), &broken).expect("a sound case");
    let unwinders = case.unwinders.clone();
    let scenario = Scenario::of_case(&Arc::new(case)).expect("a sound scenario");
    let options = Options { unwinders, keep_going: true, ..Options::default() };
    let recording = run_all(Path::new("/nowhere"), &[scenario], &options).expect("it runs").0;
    let failures: Vec<_> = recording.sections.iter().flat_map(|section| &section.failures).collect();
    assert!(!failures.is_empty());
    for failure in failures {
        let command = failure.message.lines().find(|line| line.contains("unwind-harness ")).expect("a command");
        assert!(command.contains(" --case ") && !command.contains("arm64/irq_on_task"), "{command}");
    }
}

/// Debian's own kernel for this CPU; they are not checked in (`.ci/linux`).
fn image(test: &str, cpu: &str) -> Option<String> {
    let images = images_of(test, cpu);
    images.first().map(|image| image.path.to_string_lossy().into_owned())
}

/// Freezes a run of an image, and runs the case where there is nothing else. The tables of both, and the case.
fn of_image(image: &str, name: &str, kind: &str) -> (String, String, String) {
    let file = path(&format!("{name}-{}.case", image.rsplit('_').next().unwrap_or_default()));
    let file = file.to_string_lossy().into_owned();
    let (then, _) = ends(0, &["run", "--linux", image, name, "--interrupt", kind, "--freeze", &file]);
    let empty = path("empty").to_string_lossy().into_owned();
    std::fs::create_dir_all(&empty).expect("a folder");
    let (now, _) = ends(0, &["run", "--case", &file, "--root", &empty]);
    (then, now, file)
}

#[test]
fn a_case_of_a_real_kernel_repeats_its_walks() {
    let Some(image) = image("a_case_of_a_real_kernel_repeats_its_walks", "arm64") else { return };
    let mut last = String::new();
    for (name, kind) in [("snprintf", "irq"), ("fgraph", "irq"), ("fgraph_preempts_itself", "voluntary")] {
        let (then, now, file) = of_image(&image, name, kind);
        assert_eq!(untimed(&now), untimed(&then), "{name}");
        let case = std::fs::read_to_string(&file).expect("text");
        assert!(case.len() < 250_000, "{name}: {} bytes", case.len());
        let facts = ["licence = \"GPL-2.0-only\"", "source = \"linux ", "build-id = ", "package-sha256 = "];
        for says in facts.into_iter().chain(["\"task_struct.stack\""]) {
            assert!(case.contains(says), "{name} should say {says:?}");
        }
        last = file;
    }
    let walks = std::fs::read_to_string(&last).expect("text").parse::<Table>().expect("TOML");
    let point = walks["walks"][0]["points"][0].as_str().expect("text").split(' ').find(|word| word.contains('#'));
    let point = point.expect("a point");
    let (of_case, _) = ends(0, &["explain", "--case", &last, point, "--unwinder", "linux"]);
    let name = "arm64/linux/fgraph_preempts_itself";
    let (of_image, _) = ends(0, &["explain", "--linux", &image, name, point, "--unwinder", "linux"]);
    assert_eq!(of_case, of_image);
}

/// On the other CPUs too, with the kernel's own unwinder.
#[test]
fn cases_of_other_cpus_repeat_their_walks() {
    for cpu in ["riscv64", "x86_64"] {
        let Some(image) = image("cases_of_other_cpus_repeat_their_walks", cpu) else { continue };
        let (_, now, file) = of_image(&image, "snprintf", "irq");
        assert!(now.contains("linux:best-effort@regs") && now.contains("all other gates hold"), "{cpu}: {now}");
        let size = std::fs::metadata(&file).expect("it was written").len();
        assert!(size < 1_000_000, "{cpu}: {size} bytes");
    }
}

//! Debian's own kernels, interrupted at every instruction and walked by their own unwinders. What must hold for every image, and what
//! the pinned ones are known to do.

use std::path::Path;
use std::sync::Arc;

use unwind_harness::analysis::gate;
use unwind_harness::analysis::linux::{Status, shown};
use unwind_harness::recording::{Agreement, Disagreement, Recording};
use unwind_harness::scenario::{Scenario, image_scenarios};
use unwind_harness::subject;
use unwind_harness::suite::{Options, run_all};

use crate::linux_packages::{images, images_of, skip};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The scenarios of every image that was fetched, and what they give.
fn runs(test: &str) -> impl Iterator<Item = (Vec<Scenario>, Recording)> {
    let images = images(test).into_iter().map(Arc::new);
    let scenarios = images.map(|image| image_scenarios(root(), &image).expect("the scenarios are sound"));
    scenarios.map(|scenarios| {
        let options = Options { keep_going: true, ..Options::default() };
        let (recording, _) = run_all(root(), &scenarios, &options).expect("the images run");
        (scenarios, recording)
    })
}

/// Of each defect, how many walks show it, of how many.
type Defects = &'static [(&'static str, u64, u64)];

/// The defects of the pinned images: SHA-256 of `vmlinuz`, and the defects.
const PINNED: [(&str, Defects); 3] = [
    (
        "2187a5783e663d94a1f12901d0efbb554a288172a9ba77979f12b10d84e41dd1",
        &[
            ("caller-of-leaf", 142, 886),
            ("preempted-tracer", 4, 8),
            ("sdei-boundary", 142, 886),
            ("sdei-in-entry", 1155, 9801),
        ],
    ),
    (
        "84b0b9ec39aa16cbe29d19a7c359a354fc893aa8b5a814122b4bb1536ebe9216",
        &[
            ("caller-of-leaf", 131, 831),
            ("traced-return-not-recovered", 1957, 2644),
            ("walk-stays-on-irq-stack", 831, 831),
        ],
    ),
    (
        "7435b9178e91998f4f70774510c4ffad6764a08c64b17f7ef9c4252ea5948932",
        &[("nmi-behind-error-entry", 26, 3796), ("retpoline-addition", 6, 473)],
    ),
];

/// What the walks of tasks that are switched out give on x86-64, of the pinned image: scenario, column, exact ones, of how many. The
/// control of `preempted-tracer`: there, the walk finds the caller on all ways out of traced functions.
const TASKS: (&str, [(&str, &str, u64, u64); 4]) = (
    "7435b9178e91998f4f70774510c4ffad6764a08c64b17f7ef9c4252ea5948932",
    [
        ("x86_64/linux/blocked", "linux:task@task", 1, 1),
        ("x86_64/linux/preempted", "linux:task@task", 909, 909),
        ("x86_64/linux/fgraph_preempted", "linux:task@task", 1365, 1450),
        ("x86_64/linux/fgraph_preempts_itself", "linux:task@task", 8, 8),
    ],
);

fn holds_the_control(recording: &Recording) {
    for (scenario, label, exact, walks) in TASKS.1 {
        let section = recording.sections.iter().find(|section| section.scenario == scenario).expect("it ran");
        let column = section.columns.iter().find(|column| column.label() == label).expect("it walked");
        let counters = column.counters;
        assert_eq!((counters.exact, counters.walks, counters.unsound), (exact, walks, 0), "{scenario}");
    }
}

#[test]
fn real_kernels_are_judged_and_our_models_give_what_they_give() {
    for (scenarios, recording) in runs("real_kernels_are_judged_and_our_models_give_what_they_give") {
        assert!(!recording.sections.is_empty());
        for section in &recording.sections {
            let title = section.title();
            assert_eq!((&section.void, &section.not_judged), (&None, &None), "{title}");
            let failures: Vec<&str> = section.failures.iter().map(|failure| failure.message.as_str()).collect();
            assert_eq!(failures, Vec::<&str>::new(), "{title}");
            assert!(section.points > 0, "{title}: no point");
            assert!(!section.agreements.is_empty(), "{title}: nothing was compared with a model of ours");
            for agreement in &section.agreements {
                assert!(agreement.points > 0 && agreement.differ == 0, "{title}: {agreement:?}");
            }
        }
        for found in shown(&scenarios, &recording) {
            println!("{} {}: {:?}", found.release(), found.defect.id, found.status);
        }
        let hash = &recording.sections[0].guest.sha256;
        if hash == TASKS.0 {
            holds_the_control(&recording);
        }
        let Some((_, expected)) = PINNED.iter().find(|(pinned, _)| pinned == hash) else {
            skip(
                "real_kernels_are_judged_and_our_models_give_what_they_give",
                &format!("{hash} is not the pinned image"),
            );
            continue;
        };
        let open: Vec<(String, u64, u64)> = shown(&scenarios, &recording)
            .into_iter()
            .filter_map(|found| match found.status {
                Status::Open { walks, of, .. } => Some((found.defect.id.clone(), walks, of)),
                _ => None,
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(id, walks, of)| ((*id).to_owned(), *walks, *of)).collect();
        assert_eq!(open, expected, "{hash}");
    }
}

#[test]
fn a_model_that_differs_from_the_kernel_breaks_a_gate() {
    for (scenarios, mut recording) in runs("a_model_that_differs_from_the_kernel_breaks_a_gate").take(1) {
        let scenario = &scenarios[0];
        let all: Vec<String> = subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect();
        let section = &mut recording.sections[0];
        let first = Disagreement { point: "f+0x0#1".to_owned(), own: vec!["a".to_owned()], model: Vec::new() };
        let agreement: &mut Agreement = &mut section.agreements[0];
        (agreement.differ, agreement.first) = (1, Some(first));
        gate::check(scenario, std::slice::from_mut(section), &all, true);
        let message = &section.failures.first().expect("a broken gate").message;
        assert!(message.contains("the kernel's own, at 1 of") && message.contains("f+0x0#1"), "{message}");
    }
}

/// ORC rows of the real kernel are judged; where an image has no tables, that is said and is no success.
#[test]
fn rows_are_checked_where_an_image_has_any() {
    for image in images("rows_are_checked_where_an_image_has_any") {
        let has_orc = image.symbols.has("orc_header");
        let (release, path) = (image.release.clone(), image.path.clone());
        let mut scenarios = image_scenarios(root(), &Arc::new(image)).expect("the scenarios are sound");
        scenarios.retain(|scenario| scenario.name.ends_with("/kstrtoull"));
        let report = unwind_harness::rows::run_all(root(), &scenarios, &[]).expect("the image runs");
        assert_eq!(report.rows.len(), usize::from(has_orc), "{release}");
        for guest in &report.rows {
            assert!(guest.name.ends_with(&release) && guest.void.is_none(), "{}", guest.name);
            let kstrtoull = guest.functions.iter().find(|function| function.name == "kstrtoull");
            let judged = kstrtoull.expect("it ran").tables.iter().map(|table| table.cfa.judged).sum::<usize>();
            assert!(judged > 4, "{judged} instructions of kstrtoull"); // a short one
        }
        if !has_orc {
            let arguments = ["unwind-harness", "check", "kstrtoull", "--linux"].map(std::ffi::OsString::from);
            let arguments = arguments.into_iter().chain([path.into_os_string()]);
            let cli = <unwind_harness::cli::Cli as clap::Parser>::try_parse_from(arguments).expect("it parses");
            let error = cli.execute(&mut Vec::new()).expect_err("nothing was judged").to_string();
            assert!(error.contains("nothing was judged"), "{error}");
        }
    }
}

/// A function that no scenario names, as the command line says it.
#[test]
fn any_function_of_an_image_can_be_called() {
    for image in images("any_function_of_an_image_can_be_called") {
        let image = Arc::new(image);
        let arguments = ["48", "18"].map(str::to_owned);
        let scenario = unwind_harness::scenario::image_call(&image, "gcd", &arguments).expect("it is sound");
        assert_eq!(scenario.name, format!("{}/linux/call-gcd", image.cpu.name));
        let options = Options { keep_going: true, ..Options::default() };
        let (recording, _) = run_all(root(), std::slice::from_ref(&scenario), &options).expect("the image runs");
        let section = &recording.sections[0];
        assert_eq!((&section.void, &section.not_judged), (&None, &None), "{}", section.title());
        assert!(section.points > 10 && section.failures.is_empty(), "{:?}", section.failures);
        let error = unwind_harness::scenario::image_call(&image, "gcd", &["str".to_owned()]).expect_err("no argument");
        assert!(error.to_string().contains("\"str\" is no number"), "{error}");
        let missing =
            unwind_harness::scenario::image_call(&image, "no_such_function", &[]).expect("only an image can say");
        let (recording, _) = run_all(root(), std::slice::from_ref(&missing), &options).expect("others would go on");
        let reason = recording.sections[0].not_judged.as_ref().expect("nothing ran");
        assert!(reason.contains("no symbol `no_such_function`"), "{reason}");
    }
}

/// A folder with one image, one file that is cut short, and one that is none: the one runs, and what was left out is said at the end.
#[test]
fn what_is_skipped_is_listed_at_the_end() {
    let test = "what_is_skipped_is_listed_at_the_end";
    let Some(image) = images_of(test, "riscv64").into_iter().next() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skips");
    std::fs::create_dir_all(&folder).expect("a folder");
    let package = std::fs::read(&image.path).expect("it is read");
    std::fs::write(folder.join("whole.deb"), &package).expect("a file");
    std::fs::write(folder.join("cut.deb"), &package[..package.len() / 4]).expect("a file");
    std::fs::write(folder.join("notes.txt"), "not a kernel").expect("a file");
    let json = folder.join(".report.json");
    let of = |verb: &str, filter: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
        command.arg(verb).arg("--linux").arg(&folder).arg(filter).arg("--json").arg(&json).current_dir(root());
        let output = command.output().expect("it starts");
        let document: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).expect("a document")).expect("JSON");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"), document)
    };
    let (status, out, document) = of("run", "kstrtoull");
    // Nothing that should have been judged is passed over.
    assert_eq!(status, Some(2), "{out}");
    let list = out.split_once("\nskipped:\n").expect("a list").1;
    for says in ["cut.deb", "notes.txt: not a kernel image", "linux in ", "the image has no arch_stack_walk_reliable"] {
        assert!(list.contains(says), "{says:?} in {list}");
    }
    assert!(out.ends_with("1 image could not be read\n"), "{out}");
    let skipped = document["skipped"].as_array().expect("a list");
    let failed: Vec<_> = skipped.iter().filter(|skip| skip["failed"] == true).collect();
    assert_eq!(failed.len(), 1, "{skipped:?}");
    assert!(failed[0]["what"].as_str().is_some_and(|what| what.ends_with("cut.deb")), "{failed:?}");
    assert!(skipped.iter().all(|skip| skip["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

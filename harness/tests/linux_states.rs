//! States of kernel images that a symbol table or a call alone does not give: data whose place code tells, states of one's own, applied
//! alternatives, a second exception, and kernels of older shapes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use unwind_harness::Error;
use unwind_harness::linux::state::require_capabilities;
use unwind_harness::linux::{KernelImage, list};
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Scenario, image_call, image_entry};
use unwind_harness::suite::{Options, run_all};

use crate::linux_walks::{images, root, scenario};

/// Runs a scenario; its only section.
fn run(scenario: &Scenario) -> Section {
    let options = Options { keep_going: true, ..Options::default() };
    let (mut recording, _) = run_all(root(), std::slice::from_ref(scenario), &options).expect("the others would go on");
    recording.sections.remove(0)
}

#[track_caller]
fn is_judged(section: &Section) {
    let title = section.title();
    assert_eq!((&section.void, &section.not_judged), (&None, &None), "{title}");
    assert!(section.points > 0 && section.failures.is_empty(), "{title}: {:?}", section.failures);
    assert!(section.agreements.iter().all(|agreement| agreement.differ == 0), "{title}: {:?}", section.agreements);
}

/// A file with a state.
fn state(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("state.toml");
    std::fs::write(&path, text).expect("it is written");
    path
}

fn entry(image: &Arc<KernelImage>, text: &str) -> Result<Scenario, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    image_entry(image, &state(&folder, text))
}

#[track_caller]
fn not_judged(image: &Arc<KernelImage>, text: &str, says: &str) {
    let section = run(&entry(image, text).expect("only an image can say"));
    let reason = section.not_judged.unwrap_or_default();
    assert!(reason.contains(says), "{text}: {reason:?}");
}

/// What code tells is what the image's own table says, where it has one.
#[test]
fn code_tells_where_data_is() {
    for image in images("code_tells_where_data_is", "arm64") {
        let told = image.told_by_code();
        assert_eq!(told.len(), 9);
        for (name, place) in told {
            assert_eq!(place, image.symbols.address(name), "{name}");
        }
    }
}

/// Instructions that are others than expected leave the place unknown.
#[test]
fn code_that_looks_otherwise_tells_nothing() {
    for image in images("code_that_looks_otherwise_tells_nothing", "arm64") {
        let mut image = Arc::into_inner(image).expect("no one else has it");
        let changes = [
            ("call_on_irq_stack", "irq_stack_ptr"),
            ("set_handle_irq", "handle_arch_irq"),
            ("start_kernel", "init_task"),
            ("__switch_to", "__entry_task"),
            ("__sdei_asm_handler", "sdei_exit_mode"),
            ("invoke_sdei_fn", "sdei_firmware_call"),
        ];
        for (function, place) in changes {
            let symbol = image.symbol(function).expect("a function").clone();
            let load = image.loads.iter_mut().find(|load| (load.address..load.end()).contains(&symbol.address));
            let load = load.expect("it is loaded");
            let start = (symbol.address - load.address) as usize;
            let body = &mut load.data[start..start + symbol.size as usize];
            let before = body.to_vec();
            body.fill(0);
            let told = image.told_by_code();
            let (_, known) = told.iter().find(|(name, _)| *name == place).expect("it is asked for");
            assert!(known.is_err(), "{place} without {function}: {known:x?}");
            let load = image.loads.iter_mut().find(|load| (load.address..load.end()).contains(&symbol.address));
            load.expect("it is loaded").data[start..start + symbol.size as usize].copy_from_slice(&before);
        }
    }
}

/// A run begins at an instruction, with registers and memory that are given, and ends where that returns, or stops.
#[test]
fn a_state_of_ones_own_runs() {
    for (cpu, [first, second], saved) in [("arm64", ["x0", "x1"], "x19"), ("riscv64", ["a0", "a1"], "s0")] {
        for image in images("a_state_of_ones_own_runs", cpu) {
            let registers = format!("[registers]\n{first} = 48\n{second} = \"18\"\n{saved} = \"sym:memcpy+0x4\"\n");
            is_judged(&run(&entry(&image, &format!("pc = \"gcd\"\nreturns = 6\n{registers}")).expect("it is sound")));
            let wrong = format!("pc = \"gcd\"\nreturns = 7\n{registers}");
            not_judged(&image, &wrong, "returns = 7: guest");
            not_judged(&image, &wrong, "gcd returned 0x6");
            // A stop is no return: what waits there is not missed. Nothing behind it is a point.
            let stops = format!("pc = \"gcd\"\nstop = \"gcd+0x8\"\n{registers}");
            let section = run(&entry(&image, &stops).expect("it is sound"));
            is_judged(&section);
            assert!(section.points < 8, "{} points", section.points);
            // The memory is read by the function.
            let memory = "call = \"strlen\"\narguments = [\"sym:saved_command_line\"]\n[[memory]]\n\
                          at = \"saved_command_line\"\nbytes = \"414200\"\n";
            is_judged(&run(&entry(&image, &format!("returns = 2\n{memory}")).expect("it is sound")));
            // So is a word of the thread's stack.
            let top = image.address("init_stack").expect("a stack") + 0x2000;
            let stack = format!(
                "pc = \"strlen\"\nreturns = 1\n[registers]\n{first} = \"{top:#x}\"\n[[memory]]\nat = \"{top:#x}\"\nvalue = 65\n"
            );
            is_judged(&run(&entry(&image, &stack).expect("it is sound")));
        }
    }
}

#[test]
fn a_state_that_makes_no_sense_names_the_key() {
    for cpu in ["arm64", "riscv64"] {
        for image in images("a_state_that_makes_no_sense_names_the_key", cpu) {
            for (text, says) in [
                ("", "one of the keys call and pc"),
                ("call = \"gcd\"\npc = \"gcd\"", "one of the keys call and pc"),
                ("pc = \"gcd\"\nbogus = 1", "unknown field `bogus`"),
                ("pc = \"+1\"", "place \"+1\""),
                ("pc = \"gcd\"\narguments = [1]", "arguments go with call"),
                ("call = \"gcd\"\n[registers]\nx0 = 1", "registers.x0"),
                ("pc = \"gcd\"\nstop = \"gcd\"\nreturns = 1", "stop and returns"),
                ("pc = \"gcd\"\n[registers]\nx0 = \"foo:1\"", "x0 = \"foo:1\""),
                ("pc = \"gcd\"\n[[memory]]\nat = \"0x10\"", "memory[0]: one of value and bytes"),
                ("pc = \"gcd\"\n[[memory]]\nat = \"0x10\"\nvalue = 1\nsize = 3", "memory[0]: size = 3"),
                ("pc = \"gcd\"\n[[memory]]\nat = \"0x10\"\nbytes = \"0\"", "memory[0]: bytes = \"0\""),
            ] {
                let error = entry(&image, text).expect_err("it is refused").to_string();
                assert!(error.contains("state.toml: ") && error.contains(says), "{text}: {error}");
            }
            let link = if cpu == "arm64" { "x30" } else { "ra" };
            for (text, says) in [
                ("pc = \"nowhere\"", "pc: no symbol `nowhere`"),
                ("pc = \"gcd+0x1\"", "pc = \"gcd+0x1\": no instruction"),
                ("pc = \"gcd\"\nstop = \"init_task\"", "stop = \"init_task\": no instruction"),
                ("pc = \"gcd\"\n[registers]\nx77 = 1", "registers.x77: "),
                ("pc = \"gcd\"\n[registers]\nsp = 16", "registers.sp: 0x10"),
                ("pc = \"gcd\"\n[[memory]]\nat = \"0x10\"\nvalue = 1", "memory[0] (at = \"0x10\"): "),
                (&format!("pc = \"gcd\"\n[registers]\n{link} = 1"), &format!("registers.{link}: ")),
            ] {
                not_judged(&image, text, says);
            }
        }
    }
}

/// A CPU's capability is named as the kernel names it, and changes what runs.
#[test]
fn alternatives_are_applied_for_a_named_capability() {
    const ATOMICS: &str = "LSE atomic instructions";
    for image in images("alternatives_are_applied_for_a_named_capability", "arm64") {
        require_capabilities(&image, &[ATOMICS.to_owned()]).expect("it is known");
        let error = require_capabilities(&image, &["none".to_owned()]).expect_err("it is unknown").to_string();
        assert!(error.contains("no capability \"none\"") && error.contains(ATOMICS), "{error}");
        let program = |named: &[&str]| {
            let mut scenario = image_call(&image, "gcd", &["48".to_owned(), "18".to_owned()]).expect("it is sound");
            let call = scenario.text.linux.as_mut().expect("a call");
            call.workload.alternatives = named.iter().map(ToString::to_string).collect();
            scenario.program(root(), &scenario.variants()[0]).expect("it is set up")
        };
        let text = |named: &[&str]| -> Vec<u8> {
            let program = program(named);
            let segments = program.guest.segments.iter().filter(|segment| segment.executable);
            segments.flat_map(|segment| segment.data.iter().copied()).collect()
        };
        let (linked, applied) = (text(&[]), text(&[ATOMICS]));
        let changed = linked.chunks(4).zip(applied.chunks(4)).filter(|(before, after)| before != after).count();
        assert!(changed > 1000, "{changed} instructions");
    }
    for image in images("alternatives_are_applied_for_a_named_capability", "riscv64") {
        let error = require_capabilities(&image, &["zbb".to_owned()]).expect_err("none are applied").to_string();
        assert!(error.contains("alternatives are as linked"), "{error}");
    }
}

/// A second exception is taken in the handler and in the entry and exit code, but not where it would lose the first one's state.
#[test]
fn a_fault_in_an_interrupt_is_walked() {
    for image in images("a_fault_in_an_interrupt_is_walked", "riscv64") {
        let scenario = scenario(&image, "fault_in_irq");
        let program = scenario.program(root(), &scenario.variants()[0]).expect("it is set up");
        let (entry, exit) = (image.address("handle_exception"), image.address("ret_from_exception"));
        let marks = &program.conventions.nesting;
        assert!(
            matches!(marks[..], [(from, true), (to, false)] if from > entry.expect("a symbol") && to > exit.expect("a symbol")),
            "{marks:x?}"
        );
        let section = run(&scenario);
        is_judged(&section);
        assert!(section.points > 1000, "{} points", section.points);
    }
}

/// Where older images were fetched (`.ci/linux --each-suite`): each gives points, or says what it lacks.
#[test]
fn older_images_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/linux/versions");
    let Ok(listing) = list(&folder) else {
        eprintln!("SKIPPED: older_images_run: no image is in target/linux/versions");
        return;
    };
    let is_older = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.contains("amd64")
            && ["linux-image-6.1.", "linux-image-6.12.", "linux-image-6.16."].iter().any(|it| name.starts_with(it))
    };
    for path in listing.images.iter().filter(is_older) {
        let image = Arc::new(KernelImage::open(path).expect("it is read"));
        for name in ["kstrtoull", "blocked"] {
            is_judged(&run(&scenario(&image, name)));
        }
        let preempted = run(&scenario(&image, "preempted"));
        if image.symbols.has("preempt_schedule_notrace") {
            is_judged(&preempted);
        } else {
            let reason = preempted.not_judged.expect("it cannot be preempted");
            assert!(reason.contains("CONFIG_PREEMPTION is off"), "{reason}");
        }
        let traced = run(&scenario(&image, "fgraph"));
        match &traced.not_judged {
            None => is_judged(&traced),
            Some(reason) => assert!(reason.contains("CONFIG_KALLSYMS_ALL is off"), "{reason}"),
        }
    }
}

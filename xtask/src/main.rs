//! Chores of the repository that `cargo build` and `cargo test` cannot do alone.
//!
//! Light on purpose: it does not depend on the harness, so `cargo xtask guests` never waits for Unicorn to compile.

mod built;
mod ci;
mod conformance;
mod fuzz;
mod guests;
mod marks;
mod mutants;
mod new_guest;
mod readme;
mod selection;
mod skips;
mod speed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a task returns; the text is printed after `xtask: `.
type Outcome = Result<(), String>;

/// One task: its name, its arguments, what `--help` says of it, and the function that does it.
struct Task {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Outcome,
}

const TASKS: &[Task] = &[
    Task {
        name: "guests",
        arguments: "[--check] [--root FOLDER] [NAME...]",
        help: "compile and link guests, all or those named (arm64/leaf); --check compares with what is there",
        run: guests::run,
    },
    Task {
        name: "new-guest",
        arguments: "NAME [--cpu CPU] [--root FOLDER]",
        help: "write and build a guest and its scenario to begin with, here or in a folder of your own",
        run: new_guest::run,
    },
    Task { name: "ci", arguments: "", help: "everything that CI checks, with the seconds of each step", run: ci::run },
    Task {
        name: "conformance",
        arguments: "[--install|--points|--page] [NAME...]",
        help: "judge unwinders of others (docs/conformance.md); --install fetches, --points only builds",
        run: conformance::run,
    },
    Task {
        name: "fuzz",
        arguments: "TARGET|all [SECONDS]",
        help: "run a fuzz target of kunwind for 60 or that many seconds, with the fixtures as seeds",
        run: fuzz::run,
    },
    Task {
        name: "mutants",
        arguments: "[--only NAME...]",
        help: "plant mistakes in the unwinders, one at a time, and say what notices each (docs/mutants.md)",
        run: mutants::run,
    },
    Task {
        name: "speed",
        arguments: "[--write | NAME...]",
        help: "count instructions of the benches, fail on 5 % more than the baseline; --write: set it",
        run: speed::run,
    },
];

/// The list of tasks, as `--help` prints it.
fn usage() -> String {
    let lines = TASKS.iter().map(|task| {
        let call = format!("{} {}", task.name, task.arguments);
        format!("  {:<41} {}\n", call.trim_end(), task.help)
    });
    "usage: cargo xtask TASK\n".to_owned() + &lines.collect::<String>()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("--help", String::as_str);
    if matches!(name, "--help" | "-h" | "help") || arguments.iter().any(|argument| argument == "--help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprint!("xtask: there is no task {name:?}\n{}", usage());
        return ExitCode::from(2);
    };
    match (task.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The top folder of the repository that cargo runs this for. The folder that was true at compile time is only the fallback: a
/// copied `target` folder would lead to another work tree.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().expect("xtask/ lies in the repository").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_lists_every_task_on_a_line_that_fits() {
        let usage = usage();
        assert_eq!(usage.lines().count(), 1 + TASKS.len());
        for (task, line) in TASKS.iter().zip(usage.lines().skip(1)) {
            assert!(line.starts_with(&format!("  {} {}", task.name, task.arguments)), "{line}");
            assert!(line.len() <= 140, "{line}");
        }
    }
}

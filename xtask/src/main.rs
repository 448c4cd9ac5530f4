//! Chores of the repository that `cargo build` and `cargo test` cannot do alone.
//!
//! Light on purpose: it does not depend on the harness, so `cargo xtask guests` never waits for Unicorn to compile.

mod ci;
mod fuzz;
mod guests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a task returns; the text is printed behind `xtask: `.
type Outcome = Result<(), String>;

/// One task: its name, what `--help` says of it, and the function that does it.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Outcome,
}

const TASKS: &[Task] = &[
    Task {
        name: "guests",
        help: "compile and link every guest; --check compares with the checked-in ELFs instead of replacing them",
        run: guests::run,
    },
    Task {
        name: "ci",
        help: "everything that CI checks: formatting, lints, documentation, guests, tests",
        run: ci::run,
    },
    Task {
        name: "fuzz",
        help: "fuzz TARGET [SECONDS]: run a fuzz target of kunwind, with the fixtures as seeds (nightly, cargo-fuzz)",
        run: fuzz::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(task) = arguments.first().and_then(|name| TASKS.iter().find(|task| task.name == name)) else {
        let asked_for_help = matches!(arguments.first().map(String::as_str), Some("--help" | "-h" | "help"));
        eprintln!("usage: cargo xtask TASK");
        for task in TASKS {
            eprintln!("  {:<8} {}", task.name, task.help);
        }
        return if asked_for_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match (task.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The top folder of the repository: of the one that cargo runs this for. What was true when this was compiled comes second,
/// because a copied `target` folder would lead to another work tree.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().expect("xtask/ lies in the repository").to_path_buf()
}

//! The steps of continuous integration, in the order in which they are cheapest to fail.

use std::process::Command;

use crate::{Outcome, root};

const STEPS: &[(&str, &[&str], &[(&str, &str)])] = &[
    ("formatting", &["fmt", "--all", "--check"], &[]),
    ("guests", &["xtask", "guests", "--check"], &[]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    (
        "documentation",
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    ),
    ("tests", &["test", "--workspace"], &[]),
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("ci takes no argument, not {unknown:?}"));
    }
    for (name, cargo_arguments, environment) in STEPS {
        eprintln!("ci: {name}: cargo {}", cargo_arguments.join(" "));
        let status = Command::new(env!("CARGO"))
            .args(*cargo_arguments)
            .envs(environment.iter().copied())
            .current_dir(root())
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !status.success() {
            return Err(format!("{name} failed ({status}); repeat it with `cargo {}`", cargo_arguments.join(" ")));
        }
    }
    Ok(())
}

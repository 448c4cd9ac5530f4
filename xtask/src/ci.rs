//! The steps of continuous integration, in the order in which they are cheapest to fail.

use std::process::Command;

use crate::{Outcome, root};

/// One step: what it checks, the cargo command, and its environment.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const fn step(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step { name, arguments, environment: &[] }
}

const DOCUMENTATION: &[&str] =
    &["doc", "--workspace", "--no-deps", "--document-private-items", "--lib", "--bin", "xtask", "--examples"];

const STEPS: &[Step] = &[
    step("formatting", &["fmt", "--all", "--check"]),
    step("guests", &["xtask", "guests", "--check"]),
    step("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step {
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
        // `--examples`, of which there are none: with the features that the other steps give dependencies.
        ..step("documentation", DOCUMENTATION)
    },
    step("tests", &["test", "--workspace"]),
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("ci takes no argument, not {unknown:?}"));
    }
    for Step { name, arguments, environment } in STEPS {
        let command = format!("cargo {}", arguments.join(" "));
        eprintln!("ci: {name}: {command}");
        let status = Command::new(env!("CARGO"))
            .args(*arguments)
            .envs(environment.iter().copied())
            .current_dir(root())
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !status.success() {
            return Err(format!("{name} failed ({status}); repeat it with `{command}`"));
        }
    }
    Ok(())
}

//! The steps of continuous integration, in the order in which they are cheapest to fail. `.ci/run` installs what they need, and
//! runs them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Outcome, readme, root, skips};

/// One step: what it checks, and the shell command that checks it.
#[derive(Debug)]
struct Step {
    name: &'static str,
    command: String,
}

/// The steps before the README's commands.
const STEPS: &[(&str, &str)] = &[
    // The fuzz targets are a workspace of their own.
    ("formatting", "cargo fmt --all --check && cargo fmt --manifest-path harness/kunwind/fuzz/Cargo.toml --check"),
    ("guests", "cargo xtask guests --check"),
    // Not advisories: their database is a Git repository elsewhere, and CI must give the same answer on the same commit.
    ("licences", "cargo deny --locked check licenses bans sources"),
    // Without the writers and their allocations, as a kernel would have it.
    (
        "kunwind alone",
        // The mutants are not run here (`cargo xtask mutants`), but they must compile.
        "cargo clippy --package kunwind -- -D warnings && \
         cargo clippy --package kunwind --features mutants -- -D warnings",
    ),
    ("lints", "cargo clippy --workspace --all-targets -- -D warnings"),
    // Unwinders of other crates change no dependency's features, so that the emulator is not compiled anew.
    (
        "other crates",
        "cargo clippy --workspace --all-targets --features framehop,gimli -- -D warnings && \
         cargo test --workspace --features framehop,gimli --test integration -- framehop a_plain_evaluator",
    ),
    // `--examples`, of which there are none, makes cargo build dependencies with the features that the other steps give them: else
    // the emulator is compiled a second time.
    (
        "documentation",
        "RUSTDOCFLAGS='-D warnings' \
         cargo doc --workspace --no-deps --document-private-items --lib --bin xtask --examples",
    ),
    ("fuzzing", "cargo xtask fuzz all 20"),
    // For the tests. When nothing can be reached (3), it leaves a mark, and they are skipped; a package that is missing
    // fails, and so does a skip without that mark.
    ("images", ".ci/linux || [ $? = 3 ]"),
    ("binutils", ".ci/binutils || [ $? = 3 ]"),
    ("speed", "cargo xtask speed"),
];

/// The program with the unwinders of other crates and nothing else of the workspace, as a user builds it: in the steps above, others
/// ask for features of dependencies that it must ask for itself. After the README's first command, which compiles the emulator so.
const ALONE: (&str, &str) = ("other crates alone", "cargo check --release --features framehop,gimli");

/// All steps; the README's own commands come last, and its tests last of all.
fn steps(readme: &[String; 2], has_setups_cargo: bool) -> Vec<Step> {
    let [run, test] = readme.each_ref().map(|command| as_on_a_fresh_machine(command, has_setups_cargo));
    let step = |(name, command): (&'static str, &str)| Step { name, command: command.to_owned() };
    let readme = [step(("README: run", &run)), step(ALONE), step(("README: test", &test))];
    STEPS.iter().copied().map(step).chain(readme).collect()
}

/// A README command in a shell that knows no more than that of a new machine: its cargo is where `.ci/setup` puts it. On a machine
/// that has its cargo elsewhere, the environment stays as it is.
fn as_on_a_fresh_machine(command: &str, has_setups_cargo: bool) -> String {
    if has_setups_cargo {
        format!("env -i HOME=\"$HOME\" PATH=/usr/bin:/bin sh -c '{}'", command.replace('\'', r"'\''"))
    } else {
        command.to_owned()
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("ci takes no argument, not {unknown:?}"));
    }
    let has_setups_cargo =
        std::env::var_os("HOME").is_some_and(|home| Path::new(&home).join(".cargo/bin/cargo").exists());
    let steps = steps(&readme::commands()?, has_setups_cargo);
    skips::forget()?;
    let mut times = Vec::new();
    let outcome = steps.iter().enumerate().try_for_each(|(index, step)| {
        eprintln!("ci: {} of {}: {}: {}", index + 1, steps.len(), step.name, step.command);
        let start = Instant::now();
        let outcome = execute(step);
        times.push((step.name, start.elapsed()));
        outcome
    });
    eprint!("{}", summary(&times, steps.len()));
    // Last of all, so that nobody overlooks them.
    outcome.and(skips::judge(&root()))
}

fn execute(Step { name, command }: &Step) -> Outcome {
    let status = Command::new("sh").args(["-c", command]).current_dir(root()).status();
    let status = status.map_err(|error| format!("cannot run sh: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status}); repeat it with:\n{command}")) }
}

/// The seconds of each step that ran, and of all.
fn summary(times: &[(&str, Duration)], steps: usize) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    let mut text = String::from("ci: step                 seconds\n");
    for (name, time) in times.iter().chain([&("total", total)]) {
        let _ = writeln!(text, "ci: {name:<18}{:>10.1}", time.as_secs_f64());
    }
    if times.len() < steps {
        let _ = writeln!(text, "ci: {} steps did not run", steps - times.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workspace's packages, the ELFs and the README are not checked by a second list of commands that drifts from this one.
    #[test]
    fn the_script_of_ci_only_installs_and_calls_this() {
        let script = std::fs::read_to_string(root().join(".ci/run")).expect("the script is there");
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let commands: Vec<&str> = lines.collect();
        assert_eq!(commands.last(), Some(&"cargo xtask ci"));
        let cargo = commands.iter().filter(|line| line.split_whitespace().any(|word| word == "cargo"));
        assert_eq!(cargo.count(), 1, "{commands:?}");
    }

    #[test]
    fn the_readmes_commands_come_last_as_they_stand_there() {
        let readme = readme::commands().unwrap();
        let steps = steps(&readme, true);
        let [run, alone, test] = &steps[STEPS.len()..] else { panic!("{steps:?}") };
        assert_eq!(alone.command, ALONE.1);
        for (step, command) in [run, test].into_iter().zip(&readme) {
            assert!(step.command.starts_with("env -i HOME=\"$HOME\" PATH=/usr/bin:/bin sh -c '"), "{}", step.command);
            assert!(step.command.contains(command.as_str()), "{}", step.command);
        }
        let as_it_is = super::steps(&readme, false);
        assert_eq!(as_it_is.last().map(|step| &step.command), readme.last());
    }

    #[test]
    fn every_step_is_a_sound_command() {
        for step in steps(&["true".to_owned(), "echo 'a b'".to_owned()], true) {
            let status = Command::new("sh").args(["-n", "-c", &step.command]).status().expect("there is a shell");
            assert!(status.success(), "{step:?}");
        }
        let quoted = as_on_a_fresh_machine("echo 'a b' \"$HOME\"", true);
        let output = Command::new("sh").args(["-c", &quoted]).env("HOME", "/h").output().expect("there is a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b /h\n");
    }

    #[test]
    fn the_summary_adds_up_and_says_what_is_missing() {
        let text = summary(&[("one", Duration::from_millis(1250)), ("two", Duration::from_secs(60))], 3);
        let table =
            "ci: step                 seconds\nci: one                      1.2\nci: two                     60.0\n";
        assert_eq!(text, format!("{table}ci: total                   61.2\nci: 1 steps did not run\n"));
    }

    #[test]
    fn a_step_that_fails_says_how_to_repeat_it() {
        let step = Step { name: "lints", command: "exit 7".to_owned() };
        let reason = execute(&step).unwrap_err();
        assert!(reason.starts_with("lints failed (exit status: 7)") && reason.ends_with("\nexit 7"), "{reason}");
    }
}

//! Runs fuzz targets of `kunwind` for a bounded time, with the SFrame fixtures as seeds.
//!
//! No nightly compiler and no cargo-fuzz: what libFuzzer needs from the compiler is LLVM's coverage pass, which stable rustc takes as
//! a `-C` option. AddressSanitizer would need an unstable option, and is not missed: kunwind forbids `unsafe`, so its faults are
//! panics, overflows (debug assertions are on), hangs and memory without bound, all of which libFuzzer sees by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Outcome, root};

const FOLDER: &str = "harness/kunwind/fuzz";
const SEEDS: [&str; 2] = ["harness/kunwind/tests/fixtures/sframe", "harness/kunwind/tests/fixtures/sframe/malformed"];
/// How long a target runs if nothing else is said.
const SECONDS: u64 = 60;
/// The longest input in bytes. A few functions with all their rows fit; longer inputs only make runs slower.
const MAX_LENGTH: u32 = 4096;
/// One input may take this many seconds. The slowest seed takes less than a hundredth of one.
const TIMEOUT: u32 = 10;

/// The coverage that cargo-fuzz asks for: edges as counters, a table of their addresses, and the operands of comparisons.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Functions of one crate in several units would each have a table of their own, some of which the linker drops.
    "-Ccodegen-units=1",
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    targets: Vec<String>,
    seconds: u64,
}

impl Request {
    fn parse(arguments: &[String], known: &[String]) -> Result<Self, String> {
        let list = || format!("the targets are {}, and `all`", known.join(", "));
        let (target, seconds) = match arguments {
            [target] => (target, SECONDS),
            [target, seconds] => {
                (target, seconds.parse().map_err(|_| format!("{seconds:?} is not a number of seconds"))?)
            }
            _ => return Err(format!("fuzz takes a target and perhaps a number of seconds; {}", list())),
        };
        if seconds == 0 {
            // To libFuzzer, 0 means without end.
            return Err("0 seconds is too short".to_owned());
        }
        match target.as_str() {
            "all" => Ok(Self { targets: known.to_vec(), seconds }),
            _ if known.contains(target) => Ok(Self { targets: vec![target.clone()], seconds }),
            _ => Err(format!("there is no fuzz target {target:?}; {}", list())),
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let root = root();
    let request = Request::parse(arguments, &targets(&root)?)?;
    let work = root.join("target").join("fuzz");
    let programs = build(&root, &work, &request.targets)?;
    let seeds = work.join("seeds");
    let count = copy_seeds(&root, &seeds).map_err(|error| format!("{}: {error}", seeds.display()))?;
    for target in &request.targets {
        fuzz(&programs.join(target), target, &work, count, request.seconds)?;
    }
    Ok(())
}

/// The targets there are, in order.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join(FOLDER).join("targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<_> = sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Compiles these targets with coverage: the folder that has them.
fn build(root: &Path, work: &Path, targets: &[String]) -> Result<PathBuf, String> {
    let host = host()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--release", "--manifest-path"])
        .arg(root.join(FOLDER).join("Cargo.toml"));
    // With a target, build scripts are compiled without RUSTFLAGS: they have no libFuzzer to report coverage to.
    cargo.args(["--target", &host, "--target-dir"]).arg(work);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", COVERAGE.join(" "));
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{FOLDER} does not build ({status})"));
    }
    Ok(work.join(host).join("release"))
}

/// The compiler's own target.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| format!("rustc -vV names no host: {text:?}"))
}

/// Runs one target on the seeds and on what it finds itself, which stays in `target/fuzz/corpus` for the next run.
fn fuzz(program: &Path, target: &str, work: &Path, seeds: usize, seconds: u64) -> Outcome {
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|name| work.join(name).join(target));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    eprintln!("fuzz: {target}: {seeds} seeds, {seconds} seconds");
    let output = Command::new(program)
        .args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LENGTH}"), format!("-timeout={TIMEOUT}")])
        .args(["-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([&corpus, &work.join("seeds")])
        .env("RUST_BACKTRACE", "1")
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let inputs = judge(&output, program, seeds)
        .map_err(|reason| format!("{}{target}: {reason}", String::from_utf8_lossy(&output.stderr)))?;
    eprintln!("fuzz: {target}: {inputs} inputs, none fails");
    Ok(())
}

/// The number of inputs that ran.
///
/// # Errors
///
/// An input failed, or not even the seeds ran.
fn judge(output: &Output, program: &Path, seeds: usize) -> Result<usize, String> {
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(match log.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1)) {
            Some(input) => format!("the input {input} fails; repeat it with\n{} {input}", program.display()),
            None => format!("it failed ({}), and no input is to blame", output.status),
        });
    }
    let inputs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    match inputs.and_then(|number| number.trim().parse().ok()) {
        Some(inputs) if inputs > seeds => Ok(inputs),
        ran => Err(format!("{ran:?} inputs ran, of {seeds} seeds: too short a time?")),
    }
}

/// Copies the fixtures to one folder without what else lies beside them.
fn copy_seeds(root: &Path, seeds: &Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(seeds)?;
    let mut count = 0;
    for folder in SEEDS {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if let Some(name) = path.file_name()
                && path.extension().is_some_and(|extension| extension == "sframe")
            {
                std::fs::copy(&path, seeds.join(name))?;
                count += 1;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn request(arguments: &[&str]) -> Result<Request, String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Request::parse(&owned(arguments), &owned(&["lookup", "validate"]))
    }

    #[test]
    fn a_request_names_a_target_or_all_and_perhaps_seconds() {
        let targets = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(request(&["lookup"]), Ok(Request { targets: targets(&["lookup"]), seconds: SECONDS }));
        assert_eq!(request(&["all", "7"]), Ok(Request { targets: targets(&["lookup", "validate"]), seconds: 7 }));
        for (arguments, says) in [
            (&[][..], "lookup, validate, and `all`"),
            (&["lokup"], "there is no fuzz target \"lokup\"; the targets are lookup, validate"),
            (&["lookup", "soon"], "\"soon\" is not a number of seconds"),
            (&["lookup", "0"], "too short"),
            (&["lookup", "1", "2"], "a target and perhaps"),
        ] {
            let error = request(arguments).unwrap_err();
            assert!(error.contains(says), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_failure_names_its_input_and_too_few_inputs_are_a_failure() {
        let output = |code: i32, stderr: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        let judge = |code, stderr, seeds| judge(&output(code, stderr), Path::new("target"), seeds);
        assert_eq!(judge(0, "stat::number_of_executed_units: 12\n", 11), Ok(12));
        assert!(judge(0, "stat::number_of_executed_units: 11\n", 11).is_err());
        assert!(judge(0, "", 0).is_err());
        let crash = "artifact_prefix='a/'; Test unit written to a/crash-0\n";
        assert_eq!(judge(77, crash, 0), Err("the input a/crash-0 fails; repeat it with\ntarget a/crash-0".to_owned()));
        assert!(judge(1, "no memory", 0).unwrap_err().contains("exit status: 1"));
    }
}

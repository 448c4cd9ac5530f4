//! Runs a fuzz target of `kunwind`, with the SFrame fixtures as its first seeds.

use std::path::Path;
use std::process::Command;

use crate::{Outcome, root};

const FOLDER: &str = "harness/kunwind/fuzz";
const SEEDS: [&str; 2] = ["harness/kunwind/tests/fixtures/sframe", "harness/kunwind/tests/fixtures/sframe/malformed"];
const SECONDS: u64 = 60;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (target, seconds) = match arguments {
        [target] => (target, SECONDS),
        [target, seconds] => (target, seconds.parse().map_err(|_| format!("{seconds:?} is not a number of seconds"))?),
        _ => {
            return Err(
                "fuzz takes a target and perhaps a number of seconds; harness/kunwind/fuzz/targets has them".into()
            );
        }
    };
    let root = root();
    if !root.join(FOLDER).join("targets").join(format!("{target}.rs")).is_file() {
        return Err(format!("there is no target {target:?} in {FOLDER}/targets"));
    }
    let corpus = root.join(FOLDER).join("corpus").join(target);
    let seeds =
        copy_seeds(&root, &corpus).map_err(|error| format!("cannot copy seeds to {}: {error}", corpus.display()))?;
    eprintln!("fuzz: {seeds} seeds, {seconds} seconds");
    // Through cargo's proxy, so that `+nightly` means something.
    let status = Command::new("cargo")
        .args(["+nightly", "fuzz", "run", "--fuzz-dir", FOLDER, target, "--"])
        .args([format!("-max_total_time={seconds}"), "-max_len=4096".to_owned(), "-timeout=10".to_owned()])
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(&root)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{target}: {status}; the input is in {FOLDER}/artifacts/{target}"))
    }
}

/// Copies the fixtures to the corpus; a second time changes nothing.
fn copy_seeds(root: &Path, corpus: &Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(corpus)?;
    let mut seeds = 0;
    for folder in SEEDS {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if let Some(name) = path.file_name()
                && path.extension().is_some_and(|extension| extension == "sframe")
            {
                std::fs::copy(&path, corpus.join(name))?;
                seeds += 1;
            }
        }
    }
    Ok(seeds)
}

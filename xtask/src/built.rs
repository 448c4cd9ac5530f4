//! Programs that cargo builds for a task.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::root;

/// Runs cargo, and gives the programs of these kinds (`bin`, `lib`, `test`, `bench`) that it says it built.
///
/// # Errors
///
/// It cannot be run, or it failed; it has said why.
pub(crate) fn programs(arguments: &[&str], kinds: &[&str]) -> Result<Vec<PathBuf>, String> {
    let command = format!("cargo {}", arguments.join(" "));
    eprintln!("xtask: {command}");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command} failed ({})", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_wanted = |artifact: &Value| artifact["target"]["kind"][0].as_str().is_some_and(|kind| kinds.contains(&kind));
    let wanted = artifacts.filter(is_wanted);
    Ok(wanted.filter_map(|artifact| Some(PathBuf::from(artifact["executable"].as_str()?))).collect())
}

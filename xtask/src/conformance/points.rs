//! The fixed set of points: guests of this repository and a program of the C library's functions, as files at low addresses with loaded
//! unwind data, so that debuggers, profilers and unwinders of their own process all can walk there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, guests, root};

/// A CPU, and the compiler whose static C library the program is linked with (Debian: gcc, gcc-aarch64-linux-gnu, gcc-riscv64-linux-gnu).
#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) name: &'static str,
    pub(super) compiler: &'static str,
    package: &'static str,
}

/// All.
pub(super) const CPUS: [Cpu; 3] = [
    Cpu { name: "arm64", compiler: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" },
    Cpu { name: "riscv64", compiler: "riscv64-linux-gnu-gcc", package: "gcc-riscv64-linux-gnu" },
    Cpu { name: "x86_64", compiler: "x86_64-linux-gnu-gcc", package: "gcc libc6-dev" },
];

/// The guests: programs without a kernel whose unwind data nobody has spoilt on purpose. The name of the source and of the scenario.
pub(super) const GUESTS: &[&str] = &[
    "alloca",
    "call_chain",
    "call_on_irq_stack",
    "cfa_not_rising",
    "deep_loop",
    "drap",
    "fibers",
    "indirect_call",
    "late_frame_record",
    "leaf",
    "loop",
    "misaligned_frames",
    "noreturn_last_insn",
    "plt_stub",
    "recursion",
    "return_address_in_gpr",
    "shrink_wrap",
    "tail_call",
];

/// The program.
const PROGRAM: &str = include_str!("points/program.c");

/// A scenario of the program.
struct Scenario {
    name: &'static str,
    text: &'static str,
    /// What its build is compiled with.
    flags: &'static [&'static str],
    /// The CPU that it is for, if not for all.
    only: Option<&'static str>,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "libc", text: include_str!("points/libc.toml"), flags: &[], only: None },
    Scenario { name: "signals", text: include_str!("points/signals.toml"), flags: &[], only: None },
    Scenario {
        name: "pac",
        text: include_str!("points/pac.toml"),
        flags: &["-mbranch-protection=pac-ret"],
        only: Some("arm64"),
    },
];

/// Where the set is: a root of scenarios.
pub(super) fn folder() -> PathBuf {
    root().join("target/conformance/points")
}

/// Builds the set, and returns what of it there is not, with the reason.
pub(super) fn build() -> Result<Vec<String>, String> {
    let folder = folder();
    guests::make_user(GUESTS, &folder)?;
    let mut missing = Vec::new();
    for cpu in &CPUS {
        let scenarios = folder.join("scenarios").join(cpu.name);
        let _ = std::fs::remove_dir_all(&scenarios);
        std::fs::create_dir_all(&scenarios).map_err(|error| format!("{}: {error}", scenarios.display()))?;
        for name in GUESTS {
            let from = root().join("scenarios").join(cpu.name).join(format!("{name}.toml"));
            if from.is_file() {
                let to = scenarios.join(format!("{name}.toml"));
                std::fs::copy(&from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
            }
        }
        for scenario in SCENARIOS.iter().filter(|it| it.only.is_none_or(|only| only == cpu.name)) {
            match program(cpu, scenario, &folder) {
                Ok(()) => {
                    let path = scenarios.join(format!("{}.toml", scenario.name));
                    write(&path, &scenario.text.replace("CPU", cpu.name))?;
                }
                Err(reason) => missing.push(format!("{} on {}: {reason}", scenario.name, cpu.name)),
            }
        }
    }
    Ok(missing)
}

/// Compiles the program of a scenario for a CPU.
fn program(cpu: &Cpu, scenario: &Scenario, folder: &Path) -> Outcome {
    let source = folder.join("program.c");
    write(&source, PROGRAM)?;
    let to = folder.join("programs").join(cpu.name);
    std::fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    let mut command = Command::new(cpu.compiler);
    command.args([
        "-O2",
        "-static",
        "-no-pie",
        "-fno-pie",
        "-fasynchronous-unwind-tables",
        "-Wl,--build-id=none,--eh-frame-hdr",
        "-o",
    ]);
    command.arg(to.join(scenario.name)).arg(&source).args(scenario.flags);
    let missing = |error: &dyn std::fmt::Display| format!("{}: {error} (Debian: {})", cpu.compiler, cpu.package);
    let output = command.output().map_err(|error| missing(&error))?;
    if output.status.success() { Ok(()) } else { Err(missing(&String::from_utf8_lossy(&output.stderr).trim())) }
}

pub(super) fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_a_scenario() {
        for name in GUESTS {
            let has = |cpu: &Cpu| root().join(format!("scenarios/{}/{name}.toml", cpu.name)).is_file();
            assert!(CPUS.iter().any(has), "{name}");
        }
    }
}

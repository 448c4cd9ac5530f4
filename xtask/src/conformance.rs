//! Unwinders of others over a fixed set of points: which of their walks are right, beside what the same data give to an evaluator of CFI.
//! Writes docs/conformance.md and docs/conformance.json. Not a part of CI: it takes an hour, and packages.

mod class;
mod found;
mod page;
mod unwinders;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, root};

use found::{Found, add_report};
use unwinders::{ALL, How, Unwinder};

/// The CPUs.
const CPUS: [&str; 3] = ["arm64", "riscv64", "x86_64"];

/// The guests: programs without a kernel whose unwind data nobody has spoilt on purpose.
const GUESTS: &[&str] = &[
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
    "outermost",
    "pac_signed",
    "plt_stub",
    "recursion",
    "return_address_in_gpr",
    "shrink_wrap",
    "tail_call",
];

/// What came of an unwinder on a CPU.
enum State {
    /// Its walks.
    Ran(Found),
    /// It does not know the CPU, or it cannot be had or driven: why.
    Not(String),
}

/// A row of the table.
struct Row {
    unwinder: &'static Unwinder,
    version: String,
    cpu: &'static str,
    state: State,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (options, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|unwinder| unwinder.name != **name)) {
        return Err(format!("conformance: there is no unwinder {unknown:?}"));
    }
    match options.as_slice() {
        [] => {}
        ["--install"] => install()?,
        _ => return Err("conformance takes no option but --install".to_owned()),
    }
    let folder = root().join("target/conformance");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let harness = harness()?;
    let mut rows = Vec::new();
    for unwinder in ALL {
        for cpu in CPUS {
            let is_kept = !names.is_empty() && !names.contains(&unwinder.name);
            let (version, state) = judge(unwinder, cpu, &harness, (&folder, is_kept));
            if let State::Not(reason) = &state {
                eprintln!("conformance: {} on {cpu}: {reason}", unwinder.name);
            }
            rows.push(Row { unwinder, version, cpu, state });
        }
    }
    write(&root().join("docs/conformance.md"), &page::markdown(&rows))?;
    write(&root().join("docs/conformance.json"), &page::json(&rows))
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The packages of all unwinders, as Debian 12 carries them.
fn install() -> Outcome {
    let packages: Vec<&str> = ALL.iter().flat_map(|unwinder| unwinder.packages).copied().collect();
    let status = Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(packages).status();
    match status.map_err(|error| format!("apt-get: {error}"))? {
        status if status.success() => Ok(()),
        status => Err(format!("apt-get: {status}")),
    }
}

/// The harness with its crates: that of the environment, or a new one.
fn harness() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("UNWIND_HARNESS") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "--features", "framehop"]).current_dir(root()).status();
    match built.map_err(|error| format!("cargo: {error}"))? {
        status if status.success() => Ok(root().join("target/release/unwind-harness")),
        status => Err(format!("cargo build: {status}")),
    }
}

/// Runs an unwinder on a CPU's guests; of one that is kept, takes the report of an earlier run.
fn judge(unwinder: &Unwinder, cpu: &str, harness: &Path, (folder, is_kept): (&Path, bool)) -> (String, State) {
    let (version, arguments) = match prepare(unwinder, folder) {
        Ok(prepared) => prepared,
        Err(reason) => return (String::new(), State::Not(reason)),
    };
    let report = folder.join(format!("{}-{cpu}.json", unwinder.name));
    let last = if is_kept { Ok(String::new()) } else { execute(cpu, harness, &arguments, &report) };
    let last = match last {
        Ok(last) => last,
        Err(reason) => return (version, State::Not(reason)),
    };
    let Ok(text) = std::fs::read_to_string(&report) else {
        return (version, State::Not(if is_kept { "not run yet".to_owned() } else { last }));
    };
    let mut found = Found::default();
    match add_report(&text, unwinder.name, &mut found) {
        Ok(()) if found.points() > 0 => (version, State::Ran(found)),
        Ok(()) => (version, State::Not("it does not know this CPU".to_owned())),
        Err(reason) => (version, State::Not(format!("{reason}; {last}"))),
    }
}

/// Runs the harness, and returns the last line that it has complained.
fn execute(cpu: &str, harness: &Path, arguments: &[String], report: &Path) -> Result<String, String> {
    let _ = std::fs::remove_file(report);
    let guests: Vec<String> = GUESTS.iter().map(|name| format!("{cpu}/{name}")).filter(|name| exists(name)).collect();
    let mut command = Command::new(harness);
    command.arg("run").args(guests).args(arguments).args(["-q", "--unwinder", "dwarf", "--json"]).arg(report);
    let output = command.current_dir(root()).output().map_err(|error| format!("{}: {error}", harness.display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    Ok(complaint.lines().last().unwrap_or("it does not know this CPU").to_owned())
}

fn exists(scenario: &str) -> bool {
    root().join("scenarios").join(format!("{scenario}.toml")).is_file()
}

/// Makes what an unwinder needs: its version, and the harness's arguments.
fn prepare(unwinder: &Unwinder, folder: &Path) -> Result<(String, Vec<String>), String> {
    let adapters = root().join("harness/adapters");
    // A debugger on a busy machine takes its time, and is not to be blamed for that.
    let argument =
        |command: String| ["--unwinder-cmd", &command, "--unwinder-time", "20000"].map(str::to_owned).to_vec();
    let arguments = match unwinder.how {
        How::Not(reason) => return Err(reason.to_owned()),
        How::OfHarness => vec!["--unwinder".to_owned(), unwinder.name.to_owned()],
        How::Command(command) => argument(command.replace("ADAPTERS", &adapters.to_string_lossy())),
        How::Compiled(source, libraries) => {
            let program = folder.join(unwinder.name);
            let mut command = Command::new("cc");
            command.args(["-O1", "-o"]).arg(&program).arg(adapters.join(source)).args(libraries);
            let output = command.output().map_err(|error| format!("cc: {error}"))?;
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                let first = errors.lines().find(|line| line.contains("error")).unwrap_or("cc failed");
                return Err(format!("{} does not compile ({}): {first}", source, unwinder.packages.join(" ")));
            }
            argument(program.to_string_lossy().into_owned())
        }
    };
    version(unwinder).map(|version| (version, arguments))
}

/// What a command says of the version.
fn version(unwinder: &Unwinder) -> Result<String, String> {
    let [program, arguments @ ..] = unwinder.version else { return Ok(String::new()) };
    let missing = |reason: String| format!("{program}: {reason} (Debian: {})", unwinder.packages.join(" "));
    if *program == "=" {
        return Ok(arguments.join(" "));
    }
    let output = Command::new(program).args(arguments).output().map_err(|error| missing(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(first.trim().to_owned()) } else { Err(missing(first.to_owned())) }
}

//! Unwinders of others over a fixed set of points: which of their walks are right, beside what the same data give to a plain evaluator of
//! CFI. Writes docs/data/conformance.json, and from it the generated part of docs/conformance.md. Not a part of CI: it takes minutes, and
//! packages.

mod class;
mod found;
mod page;
mod points;
mod unwinders;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Outcome, root};

use found::{CONTROL, Counts, Found, add_report};
use points::{CPUS, Cpu, write};
use unwinders::{ALL, How, Unwinder};

/// What came of an unwinder on a CPU.
enum State {
    /// Its walks.
    Ran(Found),
    /// It does not know the CPU, or it cannot be had or driven: why.
    Not(String),
}

/// Where things are, and what is asked for.
struct Task {
    folder: PathBuf,
    harness: PathBuf,
    /// The unwinders that run, if not all: of others, the report of an earlier run is taken.
    names: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (options, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|unwinder| unwinder.name != ***name)) {
        return Err(format!("conformance: there is no unwinder {unknown:?}"));
    }
    match options.iter().map(|option| option.as_str()).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--install"] => install(),
        ["--page"] => return write_page(),
        ["--points"] => return build_points().map(|_| ()),
        _ => return Err("conformance takes --install, --points or --page, or names of unwinders".to_owned()),
    }
    let folder = root().join("target/conformance");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let missing = build_points()?;
    let task = Task { folder, harness: harness()?, names: names.into_iter().cloned().collect() };
    let mut rows = Vec::new();
    for unwinder in ALL {
        let states: Vec<(Prepared, State)> = CPUS.iter().map(|cpu| judge(unwinder, cpu, &task)).collect();
        let is_driven = states.iter().any(|(_, state)| matches!(state, State::Ran(_)));
        for (cpu, (prepared, state)) in CPUS.iter().zip(states) {
            if let State::Not(reason) = &state {
                eprintln!("conformance: NOT run: {} on {}: {reason}", unwinder.name, cpu.name);
            }
            // Of one that is driven nowhere, one line says it.
            if is_driven || cpu.name == CPUS[0].name {
                rows.push(row(unwinder, if is_driven { cpu.name } else { "all" }, &prepared.version, &state));
            }
        }
    }
    let document = json!({ "control": CONTROL, "guests": points::GUESTS, "missing": missing, "rows": rows });
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())? + "\n";
    write(&root().join("docs/data/conformance.json"), &text)?;
    write_page()
}

/// Builds the set, and returns what of it could not be built.
fn build_points() -> Result<Vec<String>, String> {
    let missing = points::build()?;
    missing.iter().for_each(|reason| eprintln!("conformance: NOT in the set: {reason}"));
    Ok(missing)
}

/// Writes the generated part of the page anew.
fn write_page() -> Outcome {
    let (data, page) = (root().join("docs/data/conformance.json"), root().join("docs/conformance.md"));
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let document: Value =
        serde_json::from_str(&read(&data)?).map_err(|error| format!("{}: {error}", data.display()))?;
    write(&page, &page::replaced(&read(&page)?, &page::markdown(&document))?)
}

fn row(unwinder: &Unwinder, cpu: &str, version: &str, state: &State) -> Value {
    let mut row = json!({
        "unwinder": unwinder.name, "cpu": cpu, "version": version, "licence": unwinder.licence, "how": unwinder.told,
    });
    match state {
        State::Not(reason) => row["not"] = json!(reason),
        State::Ran(found) => {
            row["all"] = counts(&found.all);
            row["classes"] = found.classes.iter().map(|(class, of)| ((*class).to_owned(), counts(of))).collect();
            let place = |(point, truth, said): &(String, String, String)| json!({ "point": point, "true": truth, "said": said });
            row["places"] = found.defects.iter().map(place).collect();
            row["void"] = json!(found.void);
            row["not_applicable"] = json!(unwinder.not_applicable);
        }
    }
    row
}

fn counts(of: &Counts) -> Value {
    Counts::NAMES.iter().zip(of.numbers()).map(|(name, number)| ((*name).to_owned(), json!(number))).collect()
}

/// The packages of all unwinders, as Debian 12 and PyPI carry them. One that cannot be had is said, and its rows are "not run".
fn install() {
    let packages = ALL.iter().flat_map(|unwinder| unwinder.packages).copied();
    let mut commands: Vec<(String, Vec<&str>)> = packages
        .map(|package| (package.to_owned(), vec!["apt-get", "install", "-y", "--no-install-recommends", package]))
        .collect();
    let venv = venv().to_string_lossy().into_owned();
    let pip = format!("{venv}/bin/pip");
    commands.push(("an environment of Python".to_owned(), vec!["python3", "-m", "venv", &venv]));
    commands.push(("drgn".to_owned(), vec![&pip, "install", "drgn==0.3.0"]));
    for (what, words) in commands {
        let status = Command::new(words[0]).args(&words[1..]).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("conformance: COULD NOT install {what}: {}", words.join(" "));
        }
    }
}

fn venv() -> PathBuf {
    root().join("target/conformance/venv")
}

/// The harness with its crates: that of the environment, or a new one.
fn harness() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("UNWIND_HARNESS") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--features", "framehop,gimli"]).current_dir(root());
    match command.status().map_err(|error| format!("cargo: {error}"))? {
        status if status.success() => Ok(root().join("target/release/unwind-harness")),
        status => Err(format!("cargo build: {status}")),
    }
}

/// Runs an unwinder on a CPU's points; of one that is not asked for, takes the report of an earlier run.
fn judge(unwinder: &Unwinder, cpu: &Cpu, task: &Task) -> (Prepared, State) {
    let prepared = match prepare(unwinder, cpu, &task.folder) {
        Ok(prepared) => prepared,
        Err(reason) => return (Prepared::default(), State::Not(reason)),
    };
    let report = task.folder.join(format!("{}-{}.json", unwinder.name, cpu.name));
    let is_kept = !task.names.is_empty() && task.names.iter().all(|name| name != unwinder.name);
    let last = if is_kept { "no report of an earlier run".to_owned() } else { execute(cpu, task, &prepared, &report) };
    let Ok(text) = std::fs::read_to_string(&report) else { return (prepared, State::Not(last)) };
    let mut found = Found::default();
    let left_out: Vec<&str> = unwinder.not_applicable.iter().map(|(scenario, _)| *scenario).collect();
    let state = match add_report(&text, unwinder.name, &left_out, &mut found) {
        Ok(()) if found.points() > 0 => State::Ran(found),
        Ok(()) if found.void.is_empty() => State::Not("it does not know this CPU".to_owned()),
        Ok(()) => State::Not(found.void.join("; ")),
        Err(reason) => State::Not(format!("{}: {reason}", report.display())),
    };
    (prepared, state)
}

/// Runs the harness, and returns the last line that it has complained.
fn execute(cpu: &Cpu, task: &Task, prepared: &Prepared, report: &Path) -> String {
    let _ = std::fs::remove_file(report);
    let mut command = Command::new(&task.harness);
    command.args(["run", "--arch", cpu.name, "-q", "--unwinder", CONTROL]).args(&prepared.arguments);
    command.arg("--json").arg(report).arg("--root").arg(points::folder());
    match command.current_dir(root()).output() {
        Err(error) => format!("{}: {error}", task.harness.display()),
        Ok(output) => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            complaint.lines().last().unwrap_or("it does not know this CPU").to_owned()
        }
    }
}

/// What an unwinder needs on a CPU: its version, and the harness's arguments.
#[derive(Default)]
struct Prepared {
    version: String,
    arguments: Vec<String>,
}

fn prepare(unwinder: &Unwinder, cpu: &Cpu, folder: &Path) -> Result<Prepared, String> {
    let adapters = root().join("harness/adapters").to_string_lossy().into_owned();
    // A debugger on a busy machine takes its time, and is not to be blamed for that; and each walk that is lost is to be counted.
    let limits = ["--unwinder-time", "20000", "--unwinder-failures", "1000000"];
    let process = |command: &str| {
        ["--unwinder-cmd", command].iter().chain(&limits).map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let arguments = match unwinder.how {
        How::Not(reason) => return Err(reason.to_owned()),
        How::OfHarness => vec!["--unwinder".to_owned(), unwinder.name.to_owned()],
        How::Command(command) => {
            let command = command.replace("ADAPTERS", &adapters).replace("VENV", &venv().to_string_lossy());
            has_program(&command)?;
            process(&command)
        }
        How::Compiled(source, flags) => process(&compiled(unwinder, CPUS[2].compiler, source, flags, folder)?),
        How::OwnProcess(source, flags) => {
            let program = compiled(unwinder, cpu.compiler, source, flags, folder)?;
            let triplet = cpu.compiler.trim_end_matches("-gcc");
            let command = match triplet.split('-').next().unwrap_or_default() {
                "x86_64" => program,
                machine => format!("qemu-{machine} -L /usr/{triplet} {program}"),
            };
            has_program(&command)?;
            process(&command)
        }
    };
    let version = if unwinder.version.is_empty() { package(unwinder)? } else { unwinder.version.to_owned() };
    Ok(Prepared { version, arguments })
}

fn compiled(
    unwinder: &Unwinder,
    compiler: &str,
    source: &str,
    flags: &[&str],
    folder: &Path,
) -> Result<String, String> {
    let program = folder.join(format!("{}-{compiler}", unwinder.name));
    let mut command = Command::new(compiler);
    command
        .args(["-O1", "-fasynchronous-unwind-tables", "-o"])
        .arg(&program)
        .arg(root().join("harness/adapters").join(source))
        .args(flags);
    let packages = unwinder.packages.join(" ");
    let output = command.output().map_err(|error| format!("{compiler}: {error} (Debian: {packages})"))?;
    if output.status.success() {
        return Ok(program.to_string_lossy().into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let first = errors.lines().find(|line| line.contains("error") || line.contains("cannot")).unwrap_or("it failed");
    Err(format!("{source} does not compile (Debian: {packages}): {}", first.trim()))
}

/// Whether the program of a command is there.
fn has_program(command: &str) -> Outcome {
    let program = command.split_whitespace().next().unwrap_or_default();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path joined to a folder is itself.
    let is_there = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if is_there { Ok(()) } else { Err(format!("{program} is not installed: `cargo xtask conformance --install`")) }
}

/// The version of the first package.
fn package(unwinder: &Unwinder) -> Result<String, String> {
    let name = unwinder.packages.first().copied().unwrap_or_default();
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]).output();
    let output = output.map_err(|error| format!("dpkg-query: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !version.is_empty() {
        return Ok(format!("{name} {version} (Debian)"));
    }
    Err(format!("{name} is not installed: `cargo xtask conformance --install`"))
}

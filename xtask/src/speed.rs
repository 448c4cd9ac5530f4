//! How many instructions the fixed benches execute for each point, lookup and frame, compared with what is checked in. Counted by
//! callgrind, because on a shared machine times say little.

mod baseline;
mod cases;
mod page;

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::built::programs;
use crate::{Outcome, root};

use baseline::{Baseline, Versions};
use cases::{Bench, Case, all};

/// How many more instructions than in the baseline are a failure.
const TOLERANCE: f64 = 1.05;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (options, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    let writes = match options.as_slice() {
        [] => false,
        [option] if *option == "--write" && names.is_empty() => true,
        _ => return Err("speed takes parts of names, or --write alone".to_owned()),
    };
    let cases: Vec<Case> = all().into_iter().filter(|case| is_named(&case.name(), &names)).collect();
    if cases.is_empty() {
        return Err(format!("no case has {} in its name; {} lists them", names[0], baseline::FILE));
    }
    let here = versions()?;
    let known = Baseline::read(&root())?;
    if !writes && here != known.versions {
        eprint!("{}", skipped(&known.versions, &here));
        return Ok(());
    }
    let measured = measure(here, &cases)?;
    print!("{}", table(&known, &measured));
    if writes {
        measured.write(&root())?;
        return page::write(&root(), &measured);
    }
    slower(&known, &measured).map_or(Ok(()), Err)
}

fn is_named(case: &str, names: &[&String]) -> bool {
    names.is_empty() || names.iter().any(|name| case.contains(name.as_str()))
}

/// What nobody may overlook.
fn skipped(known: &Versions, here: &Versions) -> String {
    let mut text =
        "xtask: SPEED IS NOT COMPARED: other compilers or another CPU, other instructions. The baseline and this machine have\n"
            .to_owned();
    for (known, here) in known.0.iter().zip(&here.0) {
        text += &format!("xtask:   {known:<48} {here}\n");
    }
    text + "xtask: `cargo xtask speed --write`, on the commit before yours, makes a baseline for this machine.\n"
}

fn versions() -> Result<Versions, String> {
    let first_line = |program: &str| match Command::new(program).arg("--version").output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("no {program} (.ci/setup --ci installs it)"))
        }
        Err(error) => Err(format!("cannot run {program}: {error}")),
    };
    // gcc compiles the emulator.
    let found: Result<Vec<String>, String> = ["rustc", "gcc", "valgrind"].into_iter().map(first_line).collect();
    found.map(|mut found| {
        found.push(cpu());
        Versions(found)
    })
}

/// The CPU of this machine: the C library and the emulator choose code by what it can do.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    name.map_or_else(|| "a CPU without a name".to_owned(), |(_, name)| name.to_owned())
}

fn measure(versions: Versions, cases: &[Case]) -> Result<Baseline, String> {
    // Only what is asked for: two of them need the emulator.
    let mut programs = Vec::new();
    for bench in Bench::ALL {
        if cases.iter().any(|case| case.bench == bench) {
            programs.push((bench, build(bench.arguments())?));
        }
    }
    let mut counts = Vec::new();
    for case in cases {
        let program = programs.iter().find(|(bench, _)| *bench == case.bench);
        let (_, program) = program.ok_or("a bench is missing")?;
        let (few, many) = case.lengths;
        let (few, many) = (count(program, case, few)?, count(program, case, many)?);
        // What is done once for a run is in both.
        let each = (many.0 - few.0) as f64 / (many.1 - few.1) as f64;
        eprintln!("{:<52} {each:>9.1}", case.name());
        counts.push((case.name(), each));
    }
    Ok(Baseline { versions, counts })
}

/// Builds a bench, and says where it is.
fn build(bench: &[&str]) -> Result<PathBuf, String> {
    let found = programs(&[&["bench", "--no-run"], bench].concat(), &["bench"])?.into_iter().next();
    found.ok_or_else(|| format!("cargo built no bench: cargo bench {}", bench.join(" ")))
}

/// Runs a case of this length: how many instructions the process executed, and how many items it says these were.
fn count(program: &PathBuf, case: &Case, length: u64) -> Result<(u64, u64), String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).arg("--case");
    valgrind.args(&case.arguments).arg(length.to_string());
    let output = valgrind.output().map_err(|error| format!("cannot run valgrind: {error}"))?;
    read(&output).ok_or_else(|| {
        format!(
            "{} under valgrind ({}) said no counts:\n{}",
            case.name(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn read(output: &Output) -> Option<(u64, u64)> {
    let (said, counted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let items = said.lines().find_map(|line| line.strip_suffix(" items"))?.parse().ok()?;
    let collected = counted.lines().find_map(|line| line.split_once("Collected :"))?;
    Some((collected.1.trim().parse().ok()?, items)).filter(|_| output.status.success())
}

/// Everything that was counted, beside the baseline.
fn table(known: &Baseline, measured: &Baseline) -> String {
    let mut text =
        format!("{:<52} {:>9} {:>9} {:>8} {:>8}\n", "instructions for each", "baseline", "now", "change", "ratio");
    for (name, now) in &measured.counts {
        let before = known.get(name);
        let change = before.map_or("new".to_owned(), |before| format!("{:+.1} %", 100.0 * (now / before - 1.0)));
        let before = before.map_or(String::new(), |before| format!("{before:.1}"));
        let ratio = measured.ratio(name).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        text += &format!("{name:<52} {before:>9} {now:>9.1} {change:>8} {ratio:>8}\n");
    }
    text
}

/// What has become slower than it may, or is not in the baseline.
fn slower(known: &Baseline, measured: &Baseline) -> Option<String> {
    let is_slower = |(name, now): &&(String, f64)| known.get(name).is_none_or(|before| *now > TOLERANCE * before);
    let slower: Vec<&str> = measured.counts.iter().filter(is_slower).map(|(name, _)| name.as_str()).collect();
    (!slower.is_empty()).then(|| {
        format!(
            "more than 5 % more instructions than in {}, or not in it: {}. If that is worth it, `cargo xtask speed --write` accepts it; \
             say why in the commit",
            baseline::FILE,
            slower.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        let versions = Versions(["rustc 1", "gcc 2", "valgrind-3"].map(str::to_owned).to_vec());
        Baseline { versions, counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect() }
    }

    #[test]
    fn five_percent_more_fail_and_what_is_not_in_the_baseline() {
        let known = baseline(&[("a", 100.0), ("b", 1000.0)]);
        assert_eq!(slower(&known, &baseline(&[("a", 104.9), ("b", 10.0)])), None);
        let reason = slower(&known, &baseline(&[("a", 105.1), ("b", 1000.0), ("c", 1.0)])).unwrap();
        assert!(reason.contains(": a, c. If"), "{reason}");
    }

    #[test]
    fn other_versions_are_said_loudly() {
        let (known, mut here) = (baseline(&[]).versions, baseline(&[]).versions);
        here.0[1] = "gcc 3".to_owned();
        assert_ne!(known, here);
        let text = skipped(&known, &here);
        assert!(text.contains("NOT COMPARED") && text.contains("gcc 2 ") && text.contains(" gcc 3\n"), "{text}");
    }
}

//! `cargo xtask mutants`: what would notice a mistake in the unwinders. Builds the harness and kunwind's tests once, with the
//! feature `mutants`; each mutant is then a process with another environment.

mod list;
mod page;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::list::Mutant;
use self::page::{Answer, Noticed, Results};
use crate::built::programs;
use crate::{Outcome, root};

/// By what kunwind knows which mutant it is to be.
const VARIABLE: &str = "KUNWIND_MUTANT";
/// What kunwind writes to standard error when the mutant is evaluated for the first time.
const REACHED: &str = "kunwind: reached the mutant";
const CPUS: [&str; 3] = ["arm64", "riscv64", "x86_64"];
/// How many parts the scenarios of a CPU are run in: most mutants are caught in the first, and the others need not run then.
const PARTS: usize = 6;
/// A program that runs for longer has been caught: without a mutant, each takes a few seconds.
const LIMIT: Duration = Duration::from_secs(600);

/// What is run for each mutant.
#[derive(Debug)]
struct Programs {
    harness: PathBuf,
    /// The scenarios of each CPU, in parts.
    parts: BTreeMap<String, Vec<Vec<String>>>,
    /// The executables of kunwind's tests.
    tests: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let all = list::mutants()?;
    let (is_quick, arguments) = match arguments {
        [quick, rest @ ..] if quick == "--quick" => (true, rest),
        _ => (false, arguments),
    };
    let (threads, arguments) = jobs(arguments)?;
    let chosen = choose(&all, arguments)?;
    let programs = build()?;
    eprintln!("mutants: without any: everything must pass");
    let none = programs.judge_none(is_quick)?;
    if let Some(failed) = none {
        return Err(format!("without a mutant, {failed} fail: nothing can be said of mutants"));
    }
    let results = Mutex::new(Results::read(&root(), &all)?);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Outcome {
        while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let before = if is_quick {
                Some(results.lock().map_err(|_| "another mutant failed")?.scenarios(mutant))
            } else {
                None
            };
            let result = programs.judge(mutant, before)?;
            let done = 1 + done.fetch_add(1, Ordering::Relaxed);
            let (name, seconds) = (&mutant.name, start.elapsed().as_secs_f64());
            eprintln!("mutants: {done} of {}: {name}: {result} ({seconds:.1} s)", chosen.len());
            // At once, so that an interrupted run is not lost.
            let mut results = results.lock().map_err(|_| "another mutant failed")?;
            results.set(name, result);
            results.write(&root(), &all)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a mutant's thread panicked".to_owned())?)
    })?;
    let results = results.into_inner().map_err(|_| "a mutant failed")?;
    print!("{}", results.summary(&all));
    let wrong: Vec<String> = chosen.iter().filter_map(|mutant| results.contradiction(mutant)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\nxtask: ")) }
}

/// How many mutants at a time, and the other arguments.
fn jobs(arguments: &[String]) -> Result<(usize, &[String]), String> {
    match arguments {
        [jobs, number, rest @ ..] if jobs == "--jobs" => match number.parse() {
            Ok(number) if number > 0 => Ok((number, rest)),
            _ => Err(format!("--jobs takes a number, not {number:?}")),
        },
        _ => Ok((std::thread::available_parallelism().map_or(1, usize::from), arguments)),
    }
}

/// All mutants, or those behind `--only`: names, or parts of names.
fn choose<'m>(all: &'m [Mutant], arguments: &[String]) -> Result<Vec<&'m Mutant>, String> {
    let names = match arguments {
        [] => return Ok(all.iter().collect()),
        [only, names @ ..] if only == "--only" && !names.is_empty() => names,
        _ => return Err("mutants takes --quick, --jobs N and --only NAME..., in this order".to_owned()),
    };
    let mut chosen = Vec::new();
    for name in names {
        let whole = all.iter().filter(|mutant| mutant.name == *name);
        let mut found: Vec<&Mutant> = whole.collect();
        if found.is_empty() {
            found = all.iter().filter(|mutant| mutant.name.contains(name.as_str())).collect();
        }
        if found.is_empty() {
            return Err(format!("no mutant has {name:?} in its name; xtask/src/mutants/list.txt has them all"));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

/// Builds with the profile and into the folder of development. The first command chooses packages and targets as CI does: else the
/// emulator is compiled once more.
fn build() -> Result<Programs, String> {
    let harness =
        ["build", "--workspace", "--features", "unwind-harness/mutants", "--bin", "unwind-harness", "--examples"];
    let tests =
        ["test", "--no-run", "--package", "kunwind", "--features", "alloc,mutants", "--lib", "--test", "integration"];
    let harness = programs(&harness, &["bin"])?.into_iter().next().ok_or("cargo built no unwind-harness")?;
    let tests = programs(&tests, &["lib", "test"])?;
    if tests.len() == 2 {
        Ok(Programs { harness, parts: parts()?, tests })
    } else {
        Err(format!("kunwind has unit tests and integration tests, but cargo built {tests:?}"))
    }
}

/// The names of each CPU's scenarios in [`PARTS`] parts, each with some of every kind.
fn parts() -> Result<BTreeMap<String, Vec<Vec<String>>>, String> {
    let mut all = BTreeMap::new();
    for cpu in CPUS {
        let folder = root().join("scenarios").join(cpu);
        let trouble = |error: std::io::Error| format!("{}: {error}", folder.display());
        let files = std::fs::read_dir(&folder).map_err(trouble)?.collect::<Result<Vec<_>, _>>().map_err(trouble)?;
        let names = files.iter().filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned()));
        let mut names: Vec<String> = names.map(|name| format!("{cpu}/{name}")).collect();
        names.sort();
        let mut parts = vec![Vec::new(); PARTS];
        for (index, name) in names.into_iter().enumerate() {
            parts[index % PARTS].push(name);
        }
        all.insert(cpu.to_owned(), parts);
    }
    Ok(all)
}

impl Programs {
    /// What notices a mutant. `before`: what the scenarios said of it once, which stands if kunwind's tests notice it.
    fn judge(&self, mutant: &Mutant, before: Option<Answer>) -> Result<Noticed, String> {
        let tests = self.by_tests(Some(&mutant.name))?;
        if let Some(scenarios) = before.filter(|_| tests.is_noticed()) {
            return Ok(Noticed { scenarios, tests });
        }
        let scenarios = self.by_scenarios(Some(mutant), &mutant.cpus)?;
        Ok(Noticed { scenarios, tests })
    }

    /// What fails without a mutant.
    fn judge_none(&self, is_quick: bool) -> Result<Option<&'static str>, String> {
        // What was interrupted has not passed either.
        let passes = |answer: Answer| matches!(answer, Answer::Nothing | Answer::Unreached);
        if !passes(self.by_tests(None)?) {
            return Ok(Some("kunwind's tests"));
        }
        // Few, where time counts: whoever breaks a gate learns of it elsewhere.
        let cpus = if is_quick { &CPUS[..1] } else { &CPUS[..] };
        let cpus: Vec<String> = cpus.iter().map(|&cpu| cpu.to_owned()).collect();
        Ok((!passes(self.by_scenarios(None, &cpus)?)).then_some("the scenarios"))
    }

    /// The gates of each CPU, then `check`, until one fails. `check` asks no kernel's unwinder.
    fn by_scenarios(&self, mutant: Option<&Mutant>, cpus: &[String]) -> Result<Answer, String> {
        let (name, mut reached) = (mutant.map(|mutant| mutant.name.as_str()), false);
        let walks_alone = mutant.is_some_and(|mutant| mutant.file.starts_with("kernel/"));
        // `check` has no --jobs.
        let commands: [(_, _, &[&str]); 2] = [("run", "gates", &["--jobs", "1"]), ("check", "check", &[])];
        for (command, what, options) in commands {
            if walks_alone && command == "check" {
                continue;
            }
            for cpu in cpus {
                for part in &self.parts[cpu] {
                    let mut process = Command::new(&self.harness);
                    process.args([command, "-q"]).args(options).args(part).current_dir(root());
                    match end_of(process, name, &mut reached)? {
                        End::Passes => {}
                        End::Fails(how) => return Ok(Answer::Noticed(format!("{what} ({cpu}{how})"))),
                        End::Interrupted => return Ok(Answer::NotRun),
                    }
                }
            }
        }
        Ok(if reached { Answer::Nothing } else { Answer::Unreached })
    }

    /// kunwind's unit tests and integration tests.
    fn by_tests(&self, mutant: Option<&str>) -> Result<Answer, String> {
        let mut reached = false;
        for test in &self.tests {
            let mut process = Command::new(test);
            process.args(["--quiet", "--test-threads", "1"]).current_dir(root().join("harness/kunwind"));
            match end_of(process, mutant, &mut reached)? {
                End::Passes => {}
                End::Fails(how) => return Ok(Answer::Noticed(format!("tests{how}"))),
                End::Interrupted => return Ok(Answer::NotRun),
            }
        }
        Ok(if reached { Answer::Nothing } else { Answer::Unreached })
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passes,
    /// With how, where that is unusual.
    Fails(&'static str),
    /// Somebody stopped it, which says nothing of the mutant.
    Interrupted,
}

/// What the harness's exit status is when it was asked to stop.
const STOPPED: i32 = 130;
/// SIGINT, SIGKILL, SIGTERM: a program does not send these to itself.
const STOPS: [i32; 3] = [2, 9, 15];

/// Runs a program with a mutant.
fn end_of(mut process: Command, mutant: Option<&str>, reached: &mut bool) -> Result<End, String> {
    let folder = root().join("target/mutants");
    let trouble = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(trouble)?;
    let words = folder.join(mutant.unwrap_or("none"));
    match mutant {
        Some(mutant) => process.env(VARIABLE, mutant),
        None => process.env_remove(VARIABLE),
    };
    // A failure of a mutant is no regression to be kept in the sources.
    process.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true").env("RUST_BACKTRACE", "0");
    // What random cases notice by luck, they do not notice the next time. An unoptimised build needs larger stacks.
    process.env("PROPTEST_CASES", "32").env("RUST_MIN_STACK", "67108864");
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&words).map_err(trouble)?);
    let start = Instant::now();
    let mut child = process.spawn().map_err(|error| format!("cannot run {process:?}: {error}"))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(trouble)? {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            child.kill().and_then(|()| child.wait()).map_err(trouble)?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    *reached |= reaches(&words)?;
    Ok(match status {
        Some(status) if status.success() => End::Passes,
        Some(status) if status.code() == Some(STOPPED) => End::Interrupted,
        Some(status) if status.signal().is_some_and(|signal| STOPS.contains(&signal)) => End::Interrupted,
        Some(status) if status.signal().is_some() => End::Fails(", a signal ended it"),
        Some(_) => End::Fails(""),
        None => End::Fails(", the time limit"),
    })
}

fn reaches(words: &Path) -> Result<bool, String> {
    let text = std::fs::read(words).map_err(|error| format!("{}: {error}", words.display()))?;
    Ok(String::from_utf8_lossy(&text).contains(REACHED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str]) -> Result<Vec<String>, String> {
        let all = list::mutants()?;
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(choose(&all, &arguments)?.into_iter().map(|mutant| mutant.name.clone()).collect())
    }

    #[test]
    fn mutants_are_chosen_by_name_or_by_a_part_of_it() {
        assert_eq!(chosen(&["--only", "pt-regs-pc"]).unwrap(), ["pt-regs-pc"]);
        assert_eq!(chosen(&["--only", "final-"]).unwrap(), ["final-anywhere", "final-end-of-stack"]);
        assert!(chosen(&[]).unwrap().len() >= 60);
        assert!(chosen(&["--only", "nonsense"]).unwrap_err().contains("no mutant has \"nonsense\" in its name"));
        for arguments in [&["--only"][..], &["pt-regs-pc"]] {
            assert_eq!(
                chosen(arguments).unwrap_err(),
                "mutants takes --quick, --jobs N and --only NAME..., in this order"
            );
        }
    }

    #[test]
    fn a_program_that_fails_or_comes_to_the_mutant_is_told_apart() {
        let run = |script: &str| {
            let (mut process, mut reached) = (Command::new("sh"), false);
            process.args(["-c", script]);
            (end_of(process, Some("test-of-xtask"), &mut reached).unwrap(), reached)
        };
        assert_eq!(run("exit 0"), (End::Passes, false));
        assert_eq!(run("exit 1"), (End::Fails(""), false));
        assert_eq!(run("kill -6 $$"), (End::Fails(", a signal ended it"), false));
        assert_eq!(run("echo \"kunwind: reached the mutant $KUNWIND_MUTANT\" >&2"), (End::Passes, true));
        for stopped in ["exit 130", "kill -2 $$", "kill -9 $$", "kill -15 $$"] {
            assert_eq!(run(stopped), (End::Interrupted, false), "{stopped}");
        }
    }
}

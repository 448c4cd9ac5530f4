//! Writes a guest and its scenario to begin with, and builds them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{Outcome, guests, root};

/// What a CPU's guest begins as, and what its unwind rows must achieve.
struct Template {
    cpu: &'static str,
    /// The guest `leaf`.
    leaf: &'static str,
    must: &'static str,
}

/// What stands above the code of a new guest, in place of what `leaf` says of itself.
const HEAD: &str = "\
// Write here in a sentence what this guest pins: which instructions are hard for an unwinder, and why. What stands below is a
// function with a frame that calls one without; change it.
";

const TEMPLATES: &[Template] = &[
    Template {
        cpu: "arm64",
        leaf: include_str!("../../guests/arm64/leaf.S"),
        must: "sframe = \"exact\"\ndwarf = \"exact\"",
    },
    // SFrame has no riscv64.
    Template { cpu: "riscv64", leaf: include_str!("../../guests/riscv64/leaf.S"), must: "dwarf = \"exact\"" },
    Template {
        cpu: "x86_64",
        leaf: include_str!("../../guests/x86_64/leaf.S"),
        must: "sframe = \"exact\"\ndwarf = \"exact\"",
    },
];

const SCENARIO: &str = include_str!("new_guest/scenario.toml");

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: String,
    /// None: all.
    cpus: Vec<String>,
    /// The folder with `guests` and `scenarios`; `None`: this repository.
    root: Option<PathBuf>,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut name, mut cpus, mut root) = (None, Vec::new(), None);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = |option: &str| rest.next().cloned().ok_or_else(|| format!("{option} needs a value"));
            match argument.as_str() {
                "--cpu" => cpus.push(value("--cpu")?),
                "--root" => root = Some(PathBuf::from(value("--root")?)),
                option if option.starts_with('-') => {
                    return Err(format!("new-guest takes a name, --cpu and --root, not {option:?}"));
                }
                _ if name.is_some() => return Err(format!("new-guest makes one guest; {argument:?} is a second name")),
                _ => name = Some(argument.clone()),
            }
        }
        let name = name.ok_or("new-guest needs a name")?;
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if !name.chars().all(fits) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(format!("{name:?}: names of guests are lower-case letters, digits and _, a letter first"));
        }
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.cpu).collect();
        match cpus.iter().find(|cpu| !known.contains(&cpu.as_str())) {
            Some(other) => Err(format!("--cpu {other}: no such CPU; there are {}", known.join(", "))),
            None => Ok(Self { name, cpus, root }),
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let Request { name, cpus, root: own } = Request::parse(arguments)?;
    let top = own.clone().unwrap_or_else(root);
    let wanted = || TEMPLATES.iter().filter(|it| cpus.is_empty() || cpus.iter().any(|cpu| cpu == it.cpu));
    let files: Vec<(PathBuf, String)> = wanted().flat_map(|template| files(&top, &name, template)).collect();
    // Before anything is written.
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(format!("{}: it is there already", taken.display()));
    }
    for (path, text) in &files {
        write_new(path, text)?;
        println!("wrote {}", path.display());
    }
    let mut build: Vec<String> = wanted().map(|template| format!("{}/{name}", template.cpu)).collect();
    build.extend(own.iter().flat_map(|own| ["--root".to_owned(), own.display().to_string()]));
    guests::run(&build)?;
    let place = own.map_or(String::new(), |own| format!(" --root {}", own.display()));
    println!("next: change the .S files, then\n  cargo xtask guests {}", build.join(" "));
    println!("  unwind-harness run {name}{place}                       # walks, judged");
    println!("  unwind-harness check {name}{place}                     # are the .cfi directives true?");
    println!("  unwind-harness run {name}{place} --snapshots write     # keep every verdict, to see what changes");
    Ok(())
}

/// The files of one CPU.
fn files(top: &Path, name: &str, template: &Template) -> [(PathBuf, String); 2] {
    let Template { cpu, leaf, must } = template;
    let code = leaf.lines().skip_while(|line| line.starts_with("//"));
    let code = code.fold(HEAD.to_owned(), |text, line| text + &line.replace("caller", "work") + "\n");
    let scenario = SCENARIO.replace("NAME", name).replace("MUST", must);
    [
        (top.join("guests").join(cpu).join(format!("{name}.S")), code),
        (top.join("scenarios").join(cpu).join(format!("{name}.toml")), scenario),
    ]
}

fn write_new(path: &Path, text: &str) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Result<Request, String> {
        Request::parse(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_is_needed_and_what_is_wrong_is_told() {
        let own = Request { name: "own".to_owned(), cpus: vec!["arm64".to_owned()], root: Some("there".into()) };
        assert_eq!(request(&["own", "--cpu", "arm64", "--root", "there"]), Ok(own));
        for (arguments, says) in [
            (&[][..], "needs a name"),
            (&["one", "two"], "second name"),
            (&["Own"], "lower-case"),
            (&["../own"], "lower-case"),
            (&["own", "--cpu"], "needs a value"),
            (&["own", "--cpu", "pdp11"], "there are arm64, riscv64, x86_64"),
            (&["own", "--cpus"], "not \"--cpus\""),
        ] {
            assert!(request(arguments).expect_err("refused").contains(says), "{arguments:?} should say {says:?}");
        }
    }

    /// On every CPU; needs clang-14, as rebuilding any guest does.
    #[test]
    fn a_new_guest_is_written_and_built_and_never_overwrites() {
        let folder = std::env::temp_dir().join(format!("xtask-new-guest-{}", std::process::id()));
        let arguments = ["own".to_owned(), "--root".to_owned(), folder.display().to_string()];
        if guests::require_toolchain().is_err() {
            eprintln!("SKIPPED: there is no pinned clang: `.ci/setup --guests` installs it");
            return;
        }
        run(&arguments).expect("it is built");
        for cpu in ["arm64", "riscv64", "x86_64"] {
            assert!(folder.join(format!("guests/{cpu}/own.elf")).is_file(), "{cpu}");
            let scenario = std::fs::read_to_string(folder.join(format!("scenarios/{cpu}/own.toml"))).expect(cpu);
            assert!(scenario.contains("guest = \"own\"") && !scenario.contains("MUST"), "{scenario}");
        }
        let refused = run(&arguments).expect_err("it is there");
        assert!(refused.contains("it is there already"), "{refused}");
        std::fs::remove_dir_all(folder).expect("it was ours");
    }
}

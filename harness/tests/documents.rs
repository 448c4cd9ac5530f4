//! Documents that are run: what docs/tutorial.md and docs/own-scenarios.md tell the reader to do, and what they say is printed then.
//!
//! A block of code whose head names a file (` ```toml scenarios/x86_64/sum.toml `) is that file; a `diff` block with a file changes it.
//! In a `console` block, each line behind `$ ` is given to a shell, and what follows is what it prints: `...` on a line of its own
//! stands for any number of lines, and at the end of a line for the rest of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::linux_packages::skip;

struct Block {
    /// `console`, `toml scenarios/x86_64/sum.toml`, ...
    head: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { head: head.to_owned(), text: text.join("\n") + "\n" });
    }
    blocks
}

/// Does what a page says, in an empty folder.
fn follow(page: &str, folder: &Path) {
    let mut commands = 0;
    for Block { head, text } in blocks(page) {
        match head.split_once(' ') {
            Some(("diff", name)) => change(&folder.join(name), &text),
            Some((_, name)) => {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
                fs::write(path, text).expect("the file can be written");
            }
            None if head == "console" => commands += run(folder, &text),
            None => {}
        }
    }
    assert!(commands > 0, "the page has no commands");
}

/// Applies the lines of a diff, which must fit in one place.
fn change(path: &Path, diff: &str) {
    let side = |sign: char| {
        let lines = diff.lines().filter(|line| line.starts_with([' ', sign]));
        lines.map(|line| format!("{}\n", &line[1..])).collect::<String>()
    };
    let text = fs::read_to_string(path).expect("the file is there");
    let (old, new) = (side('-'), side('+'));
    assert_eq!(text.matches(&old).count(), 1, "{}: {old}", path.display());
    fs::write(path, text.replace(&old, &new)).expect("the file can be written");
}

/// Runs the commands of a block, and returns how many there are.
fn run(folder: &Path, block: &str) -> usize {
    let program = Path::new(env!("CARGO_BIN_EXE_unwind-harness"));
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("a PATH"));
    let block = format!("\n{block}");
    let commands: Vec<&str> = block.split("\n$ ").skip(1).collect();
    for command in &commands {
        let (line, expected) = command.split_once('\n').unwrap_or((command, ""));
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(folder)
            .env("PATH", &path)
            .env("REPOSITORY", env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(is_as_expected(&printed, expected), "{line}\nprinted\n{printed}\n{errors}\nand not\n{expected}");
        assert!(line.contains("echo $?") || output.status.success(), "{line}: {:?}\n{errors}", output.status);
    }
    commands.len()
}

fn is_as_expected(printed: &str, expected: &str) -> bool {
    let (printed, expected): (Vec<&str>, Vec<&str>) =
        (printed.lines().collect(), expected.trim_end().lines().collect());
    fits(&printed, &expected)
}

fn fits(printed: &[&str], expected: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => (0..=printed.len()).any(|skipped| fits(&printed[skipped..], rest)),
        Some((line, rest)) => printed.split_first().is_some_and(|(first, others)| {
            let is_it =
                line.strip_suffix("...").map_or(first.trim_end() == line.trim_end(), |start| first.starts_with(start));
            is_it && fits(others, rest)
        }),
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).expect("the page is there")
}

#[test]
fn the_example_of_the_readme_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    follow(&page("../README.md"), folder.path());
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the assembler of the machine has to be one for x86-64")]
fn the_tutorial_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    follow(&page("tutorial.md"), folder.path());
}

#[test]
fn a_folder_of_ones_own_works_as_written() {
    if Command::new("clang-14").arg("--version").output().is_err() {
        skip("a_folder_of_ones_own_works_as_written", "there is no clang-14: `.ci/setup --guests` installs it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    follow(&page("own-scenarios.md"), folder.path());
}

#[test]
fn what_is_not_printed_is_noticed() {
    for (printed, expected, is_it) in [
        ("a\nb\nc\n", "a\nb\nc\n", true),
        ("a\nb\nc\n", "a\n...\n", true),
        ("a\nb\nc\n", "...\nc\n", true),
        ("a\nb\nc\n", "a\n...\nd\n", false),
        ("a\nb\nc\n", "a\nb\n", false),
        ("a 1\n", "a ...\n", true),
        ("b 1\n", "a ...\n", false),
        ("", "a\n", false),
    ] {
        assert_eq!(is_as_expected(printed, expected), is_it, "{printed:?} {expected:?}");
    }
}

/// What docs/how-the-truth-is-known.md says was tried, was.
#[test]
fn the_tests_that_the_page_on_truth_names_exist() {
    let text = page("how-the-truth-is-known.md");
    let mut tests = 0;
    for name in text.split('`').skip(1).step_by(2).filter(|name| !name.contains(char::is_whitespace)) {
        let Some((file, test)) = name.split_once("::") else { continue };
        let places = [format!("harness/tests/{file}.rs"), format!("harness/src/{file}/tests.rs")];
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source: String = places.iter().filter_map(|place| fs::read_to_string(root.join(place)).ok()).collect();
        let test = test.trim_end_matches("...");
        assert!(source.contains(&format!("fn {test}")), "there is no {name}");
        tests += 1;
    }
    assert!(tests > 20, "{tests}");
}

/// Links between documents lead to files that are there, and to headings that are there.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    let mut folders = vec![root.join("docs"), root.join("guests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            // The sources of findings hold links of the pages that are made of them.
            if path.is_dir() && !path.ends_with("findings/source") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.push(path);
            }
        }
    }
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("text");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let is_there = target.exists() && (heading.is_empty() || headings(&target).iter().any(|it| it == heading));
            if !is_there {
                broken.push(format!("{}: {link}", page.strip_prefix(root).unwrap_or(&page).display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The fragments of a page's headings, as GitHub makes them.
fn headings(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|it| it.is_alphanumeric() || *it == '-' || *it == '_' || *it == ' ');
        kept.map(|it| if it == ' ' { '-' } else { it }).collect::<String>()
    };
    headings.map(slug).collect()
}

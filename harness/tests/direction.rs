//! Dependencies run one way. This is the order of the modules; the imports are read from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of the library, each after those that it may use. Modules on one line do not use each other, unless the second
/// list says so.
const ORDER: &[&[&str]] = &[
    &["error", "near"],
    &["progress"],
    &["interrupt"],
    &["file", "pool"],
    &["cpu"],
    &["guest", "sframe"],
    &["trace", "linux", "user"],
    &["case"],
    &["machine", "oracle", "fidelity"],
    &["subject"],
    &["verdict"],
    &["scenario"],
    &["experiment"],
    &["recording", "explain", "rows", "export"],
    &["analysis"],
    &["report"],
    &["suite"],
    &["museum"],
    &["cli"],
    &["lib", "main"],
];

/// Arrows between modules of one line: the results about rows are part of the recording.
const BESIDE: &[(&str, &str)] = &[("rows", "recording")];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/src")
}

/// All Rust files below a folder, relative to the sources, in order.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(source()).expect("below the sources").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The module path of a file: `guest/conventions/mimic.rs` is guest, conventions, mimic; `guest/mod.rs` is guest.
fn module(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The code of a file: without comments, strings that hold no paths, and its tests.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(source().join(file)).expect("the file is there");
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that a file names, as absolute module paths, whether in `use` or in the middle of an expression. Braces are followed
/// one level deep, which is how far rustfmt's style lets them nest between modules.
fn named(file: &Path) -> BTreeSet<Vec<String>> {
    let here = module(file);
    let code = code(file);
    let mut found = BTreeSet::new();
    for (start, keyword) in [("crate::", "crate"), ("super::", "super"), ("self::", "self")]
        .into_iter()
        .flat_map(|(pattern, keyword)| code.match_indices(pattern).map(move |(at, _)| (at, keyword)))
    {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            continue; // `super::super::`, or the end of another name
        }
        let mut rest = &code[start..];
        let mut path = match keyword {
            "crate" => Vec::new(),
            _ => here.clone(),
        };
        while let Some(after) = rest.strip_prefix("super::") {
            path.pop();
            rest = after;
        }
        rest = rest.strip_prefix("crate::").or_else(|| rest.strip_prefix("self::")).unwrap_or(rest);
        let heads: Vec<&str> = match rest.strip_prefix('{') {
            Some(braces) => braces.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for head in heads {
            let mut full = path.clone();
            for part in head.split("::") {
                let name: String =
                    part.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let is_module = name.chars().next().is_some_and(char::is_lowercase);
                if !is_module {
                    break;
                }
                full.push(name);
            }
            found.insert(full);
        }
    }
    found
}

/// `crate::Error` is the one name that the library's root exports.
fn top(path: &[String]) -> &str {
    path.first().map_or("error", String::as_str)
}

#[test]
fn no_arrow_runs_back() {
    let level = |module: &str| ORDER.iter().position(|line| line.contains(&module));
    let mut problems = Vec::new();
    let mut arrows = 0;
    for file in files() {
        let from = module(&file);
        let from = top(&from).to_owned();
        let from_level = level(&from).unwrap_or_else(|| panic!("{}: {from} has no place in the order", file.display()));
        for path in named(&file) {
            let to = top(&path);
            let Some(to_level) = level(to) else { continue }; // a function or macro of the root
            if to == from {
                continue;
            }
            arrows += 1;
            if to_level > from_level || (to_level == from_level && !BESIDE.contains(&(&*from, to))) {
                problems.push(format!("{}: {from} uses {to}, which comes later", file.display()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    assert!(arrows > 100, "only {arrows} arrows were found: does this test still read the imports?");
}

/// Files of one folder do not use each other in a circle. The folder's `mod.rs` is its face: its files may use what it defines.
#[test]
fn no_files_of_a_folder_form_a_circle() {
    let all = files();
    let modules: BTreeSet<Vec<String>> = all.iter().map(|file| module(file)).collect();
    // For each folder: which child uses which sibling.
    let mut uses: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for file in &all {
        let from = module(file);
        for path in named(file) {
            // The longest prefix that is a module.
            let known = (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|it| modules.contains(it));
            let Some(to) = known else { continue };
            let shared = from.iter().zip(&to).take_while(|(left, right)| left == right).count();
            if shared < from.len() && shared < to.len() && shared > 0 {
                let folder = uses.entry(from[..shared].to_vec()).or_default();
                folder.entry(from[shared].clone()).or_default().insert(to[shared].clone());
            }
        }
    }
    assert!(uses.len() > 5, "only {} folders have arrows", uses.len());
    for (folder, arrows) in &uses {
        for start in arrows.keys() {
            let mut reached = BTreeSet::new();
            let mut open = vec![start.clone()];
            while let Some(next) = open.pop() {
                for to in arrows.get(&next).into_iter().flatten() {
                    assert_ne!(to, start, "{}: {start} comes back to itself, by way of {next}", folder.join("/"));
                    if reached.insert(to.clone()) {
                        open.push(to.clone());
                    }
                }
            }
        }
    }
}

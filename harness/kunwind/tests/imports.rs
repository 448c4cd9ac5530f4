//! No two modules of the crate import each other, not even by a detour: what a module builds on can be read without it.
//!
//! The test reads the paths in the sources: `use` trees and inline paths that begin with `crate`, `super` or `self`, and in the
//! file of a folder those that begin with one of its files. It knows no macros that make paths, and skips unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path from the root of the crate; the root itself is empty.
type Module = Vec<String>;

/// The modules with the text of their files.
type Sources = BTreeMap<Module, String>;

fn read(folder: &Path, module: &Module, sources: &mut Sources) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let child: Module = module.iter().cloned().chain([stem.clone()]).collect();
        if path.is_dir() {
            read(&path, &child, sources);
        } else {
            let module = if ["lib", "mod"].contains(&&*stem) { module.clone() } else { child };
            sources.insert(module, std::fs::read_to_string(&path).expect("a readable file"));
        }
    }
}

fn crate_sources() -> Sources {
    let mut sources = Sources::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Vec::new(), &mut sources);
    sources
}

/// Identifiers, `::`, braces and commas, without comments and unit tests.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = &*code.join("\n");
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// Reads a use tree that begins at `at`, adds its paths to `paths`, and gives the place after it.
fn tree(tokens: &[String], mut at: usize, prefix: &Module, paths: &mut Vec<Module>) -> usize {
    let mut path = prefix.clone();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, paths);
                    // A comma, or what renames an item.
                    while tokens.get(at).is_some_and(|token| token != "}" && token != ",") {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            Some(name) if name != "::" && name != "}" && name != "," => {
                path.push(name.to_owned());
                if tokens.get(at + 1).is_none_or(|token| token != "::") {
                    paths.push(path);
                    return at + 1;
                }
                at += 2;
            }
            _ => return at + 1,
        }
    }
}

/// The paths in a file, from the root of the crate. A path that begins with a child counts in the file of a folder.
fn paths(module: &Module, is_folder: bool, sources: &Sources) -> Vec<Module> {
    let tokens = tokens(&sources[module]);
    let mut paths = Vec::new();
    for at in 0..tokens.len() {
        let is_start = at == 0 || tokens[at - 1] != "::";
        let names_child = |name: &str| {
            let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
            is_folder && sources.contains_key(&child) && tokens.get(at + 1).is_some_and(|token| token == "::")
        };
        let begins = |name: &str| ["crate", "super", "self"].contains(&name) || names_child(name);
        if !is_start || !begins(&tokens[at]) || tokens.get(at + 1).is_none_or(|token| token != "::") {
            continue;
        }
        let mut found = Vec::new();
        tree(&tokens, at, &Vec::new(), &mut found);
        for path in found {
            // `self` and `super` of a file are the module itself, and the one that it lies in.
            let mut from = if path[0] == "crate" { Vec::new() } else { module.clone() };
            for name in path.into_iter().filter(|name| name != "crate" && name != "self") {
                if name == "super" {
                    from.pop();
                } else {
                    from.push(name);
                }
            }
            paths.push(from);
        }
    }
    paths
}

/// Which modules each module imports from, the root of the crate apart; and imports from that root, which hide the module that
/// owns a name.
fn imports(sources: &Sources) -> (BTreeMap<Module, BTreeSet<Module>>, Vec<String>) {
    let (mut graph, mut from_root) = (BTreeMap::new(), Vec::new());
    for module in sources.keys().filter(|module| !module.is_empty()) {
        let is_folder = sources.keys().any(|other| other.len() > module.len() && other.starts_with(module));
        let mut targets = BTreeSet::new();
        for path in paths(module, is_folder, sources) {
            let owner =
                (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|it| sources.contains_key(it));
            match owner {
                Some(owner) if owner.is_empty() => {
                    from_root.push(format!("{}: {}", module.join("::"), path.join("::")))
                }
                Some(owner) if owner != *module => drop(targets.insert(owner)),
                _ => {}
            }
        }
        graph.insert(module.clone(), targets);
    }
    (graph, from_root)
}

/// A circle, if there is one: the modules on it, in order.
fn circle(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    fn visit(
        module: &Module,
        graph: &BTreeMap<Module, BTreeSet<Module>>,
        way: &mut Vec<Module>,
        done: &mut BTreeSet<Module>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|other| other == module) {
            return Some(way[start..].iter().chain([module]).map(|module| module.join("::")).collect());
        }
        if !done.insert(module.clone()) {
            return None;
        }
        way.push(module.clone());
        let found = graph.get(module).into_iter().flatten().find_map(|next| visit(next, graph, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| visit(module, graph, &mut Vec::new(), &mut done))
}

/// The same graph between folders and files at the root of the crate.
fn of_top_level(graph: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut top: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, targets) in graph {
        let others = targets.iter().map(|target| target[..1].to_vec()).filter(|target| *target != module[..1]);
        top.entry(module[..1].to_vec()).or_default().extend(others);
    }
    top
}

#[test]
fn no_two_modules_import_each_other() {
    let sources = crate_sources();
    let (graph, from_root) = imports(&sources);
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 100, "the imports were not found");
    assert_eq!(from_root, [""; 0], "import a name from the module that owns it");
    assert_eq!(circle(&graph), None);
    assert_eq!(circle(&of_top_level(&graph)), None, "between folders");
}

#[test]
fn the_files_of_sframe_build_on_each_other() {
    const CHAIN: [&str; 11] =
        ["error", "bytes", "format", "header", "search", "usual", "fre", "rule", "fde", "section", "table"];
    let (graph, _) = imports(&crate_sources());
    for (place, file) in CHAIN.iter().enumerate() {
        let module = vec!["sframe".to_owned(), (*file).to_owned()];
        for target in graph[&module].iter().filter(|target| target[0] == "sframe") {
            let earlier = target.get(1).and_then(|name| CHAIN.iter().position(|file| file == name));
            assert!(earlier.is_some_and(|earlier| earlier < place), "{file} imports {}", target.join("::"));
        }
    }
}

#[test]
fn a_planted_circle_is_found() {
    let found = |files: &[(&str, &str)]| {
        let split = |module: &str| module.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let sources = files.iter().map(|(module, text)| (split(module), (*text).to_owned())).collect();
        let (graph, from_root) = imports(&sources);
        (circle(&graph).or_else(|| circle(&of_top_level(&graph))), from_root)
    };
    let none = (None, Vec::new());
    let root = ("", "mod a; mod b; pub use a::X; pub use b::Y;");
    assert_eq!(found(&[root, ("a", "use crate::b::{Y, self};"), ("b", "// crate::a::X\nstruct Y;")]), none);
    let circle = |modules: &[&str]| Some(modules.iter().map(|module| (*module).to_owned()).collect::<Vec<_>>());
    assert_eq!(found(&[root, ("a", "use crate::b::Y;"), ("b", "use super::a::X;")]).0, circle(&["a", "b", "a"]));
    let inline = [root, ("a", "use core::fmt; use crate::{b::{Y as Z}, b};"), ("b", "fn f() { crate::a::x() }")];
    assert_eq!(found(&inline).0, circle(&["a", "b", "a"]));
    let folder = [("", ""), ("a", "mod x; pub use x::X;"), ("a::x", "use super::Y;")];
    assert_eq!(found(&folder).0, circle(&["a", "a::x", "a"]));
    // Two folders whose files make no circle, and which make one.
    let folders =
        [("", ""), ("a::x", "use crate::b::x::X;"), ("a::y", ""), ("b::x", ""), ("b::y", "use crate::a::y::Y;")];
    assert_eq!(found(&folders).0, circle(&["a", "b", "a"]));
    assert_eq!(found(&[root, ("a", "use crate::Y;"), ("b", "")]).1, ["a: Y"]);
}

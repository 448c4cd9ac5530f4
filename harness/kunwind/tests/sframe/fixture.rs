//! Where the fixtures are.

use std::path::{Path, PathBuf};

/// A section that an assembler or a linker made.
pub(crate) struct Gold {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    /// Its address, if it is linked.
    pub(crate) address: Option<u64>,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sframe")
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn text(path: &Path) -> String {
    String::from_utf8(read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections in a folder, by name without the extension.
pub(crate) fn sections(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("the fixtures are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sframe"));
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), read(path))).collect()
}

/// All sections that others made, but for version 1.
pub(crate) fn gold() -> Vec<Gold> {
    let addresses = text(&folder().join("addresses.tsv"));
    let address = |wanted: &str| {
        let line = addresses.lines().find_map(|line| line.split_once('\t').filter(|(name, _)| *name == wanted))?;
        Some(u64::from_str_radix(line.1.trim_start_matches("0x"), 16).expect("an address"))
    };
    let all = sections(&folder()).into_iter().filter(|(name, _)| !name.ends_with(".v1"));
    all.map(|(name, data)| Gold { address: address(&name), name, data }).collect()
}

/// One of them.
pub(crate) fn gold_named(name: &str) -> Vec<u8> {
    read(&folder().join(format!("{name}.sframe")))
}

/// A section that is broken by hand, or its sound pattern.
pub(crate) fn malformed(name: &str) -> Vec<u8> {
    read(&folder().join(format!("malformed/{name}.sframe")))
}

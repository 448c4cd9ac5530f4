//! `run --save-scenario`: a call or a process, kept as a scenario.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::file::Output;
use crate::scenario::Scenario;

/// Writes the scenario of a call or of a process below the root.
pub(super) fn save(root: &Path, scenario: &Scenario, name: &str) -> Result<(), Error> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Error::Usage(format!("--save-scenario {name:?}: a name consists of letters, digits, - and _")));
    }
    let path = root.join("scenarios").join(scenario.cpu.name).join(format!("{name}.toml"));
    crate::file::make_folder_of(&path)?;
    let [output] = Output::prepare([("--save-scenario", Some(&path))])?;
    let Some(output) = output else { return Ok(()) };
    output.require_new("--save-scenario")?;
    let what = match (&scenario.text.elf, &scenario.text.process) {
        (Some(call), _) => format!("{}, called once", call.call),
        (None, Some(process)) => {
            format!("{}, run as a process", process.file.file_name().unwrap_or_default().to_string_lossy())
        }
        (None, None) => return Err(Error::Internal("--save-scenario: neither a call nor a process".to_owned())),
    };
    let text = format!("# {what}, and interrupted at every instruction.\n\n{}", from_root(&scenario.source, root)?);
    output.write(&mut std::io::sink(), &mut |out| out.write_all(text.as_bytes()))
}

/// The tables of a scenario that name files of somebody, and under which keys.
const FILES: [(&str, &[&str]); 2] = [("elf", &["file", "lib"]), ("process", &["file", "sysroot", "vdso"])];

/// The text of a scenario in which files below the root are named from there, so that the folder can be moved. Others keep their
/// absolute paths.
fn from_root(source: &str, root: &Path) -> Result<String, Error> {
    let internal = |reason: String| Error::Internal(format!("--save-scenario: {reason}"));
    let mut table: toml::Table = toml::from_str(source).map_err(|error| internal(error.to_string()))?;
    for (name, keys) in FILES {
        let Some(part) = table.get_mut(name).and_then(toml::Value::as_table_mut) else { continue };
        for (_, value) in part.iter_mut().filter(|(key, _)| keys.contains(&key.as_str())) {
            let paths = match value {
                toml::Value::Array(paths) => paths.as_mut_slice(),
                path => std::slice::from_mut(path),
            };
            for path in paths {
                if let Some(short) = path.as_str().and_then(|path| below(root, Path::new(path))) {
                    *path = toml::Value::String(short.to_string_lossy().into_owned());
                }
            }
        }
    }
    toml::to_string(&table).map_err(|error| internal(error.to_string()))
}

/// A path as it is named from the root, if it lies below: a link counts as a file of the folder that holds it.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    Some(folder.strip_prefix(root.canonicalize().ok()?).ok()?.join(path.file_name()?))
}

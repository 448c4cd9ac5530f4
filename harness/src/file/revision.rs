//! Folders of a git revision, as files.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// A copy of some folders of a revision, which is removed in the end. The repository and its index stay as they are.
#[derive(Debug)]
pub struct CheckedOut {
    /// Removes the copy in the end.
    _folder: tempfile::TempDir,
    /// Where the root of the project is in it.
    root: PathBuf,
}

impl CheckedOut {
    /// The root of the copy.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Copies the folders of a revision of the repository that holds `root`, a folder of it, by the program `git`. Folders that the
/// revision does not have are left out.
///
/// # Errors
///
/// [`Error::Usage`] with what git says: that there is no such revision, or no repository.
pub fn check_out(root: &Path, revision: &str, folders: &[&str]) -> Result<CheckedOut, Error> {
    let at = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let folder = tempfile::tempdir().map_err(|error| unusable(revision, &error.to_string()))?;
    let index = folder.path().join("index");
    let git = |arguments: &[&str]| -> Result<String, Error> {
        let mut command = Command::new("git");
        command.arg("-C").arg(at).args(arguments).env("GIT_INDEX_FILE", &index).stdin(Stdio::null());
        let output = command.output().map_err(|error| unusable(revision, &format!("git: {}", of(&error))))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let says = String::from_utf8_lossy(&output.stderr);
        let first = says.lines().next().unwrap_or("git fails without a word").trim_start_matches("fatal: ").to_owned();
        Err(unusable(revision, &first))
    };
    let below = git(&["rev-parse", "--show-prefix"])?;
    let commit = git(&["rev-parse", "--verify", "--end-of-options", &format!("{revision}^{{commit}}")])
        .map_err(|_| unusable(revision, "it knows no such name"))?;
    git(&["read-tree", commit.trim()])?;
    let tree = folder.path().join("tree");
    let prefix = format!("--prefix={}/", tree.display());
    let all = git(&["ls-files", "-z", "--"].iter().chain(folders).copied().collect::<Vec<_>>())?;
    // In parts: the length of a command line is limited.
    let names: Vec<&str> = all.split('\0').filter(|name| !name.is_empty()).collect();
    for names in names.chunks(500) {
        git(&["checkout-index", "--force", "--quiet", &prefix, "--"].iter().chain(names).copied().collect::<Vec<_>>())?;
    }
    let root = tree.join(below.trim_end_matches('\n'));
    std::fs::create_dir_all(&root).map_err(|error| unusable(revision, &error.to_string()))?;
    Ok(CheckedOut { _folder: folder, root })
}

fn of(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "it is not installed".to_owned() } else { error.to_string() }
}

fn unusable(revision: &str, why: &str) -> Error {
    Error::Usage(format!("{revision}: no report, no folder with snapshots, and no revision of git: {why}"))
}

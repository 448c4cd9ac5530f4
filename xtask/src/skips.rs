//! Tests that were skipped because what they need could not be fetched. `harness/tests/linux_packages.rs` lists them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Outcome, root};

fn list(root: &Path) -> PathBuf {
    root.join("target/skipped-tests")
}

/// What an earlier run has left is not of this one.
pub(crate) fn forget() -> Outcome {
    match std::fs::remove_file(list(&root())) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", list(&root()).display())),
        _ => Ok(()),
    }
}

/// The lines of the list.
fn read(root: &Path) -> Result<Vec<String>, String> {
    match std::fs::read_to_string(list(root)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("{}: {error}", list(root).display())),
    }
}

/// What a test says that skips an image because it is not the one whose numbers it knows.
const NOT_PINNED: &str = "is not the pinned image";

/// What a test says that needs a newer assembler and linker than Debian 12 has.
const NO_BINUTILS: &str = "no binutils in target/binutils";

/// Prints what was skipped. It is a failure, unless `.ci/linux` has left its mark that nothing can be reached, or that the pinned
/// image has left the archive; or `.ci/binutils` its own, for the tests that need what it fetches.
pub(crate) fn judge(root: &Path) -> Outcome {
    let skips = read(root)?;
    for skip in &skips {
        eprintln!("ci: {skip}");
    }
    let linux = root.join("target/linux");
    if linux.join("unreachable").exists() {
        return Ok(());
    }
    let has_left = linux.join("unpinned").exists();
    let has_no_binutils = root.join("target/binutils/unreachable").exists();
    let is_excused =
        |skip: &&String| has_left && skip.contains(NOT_PINNED) || has_no_binutils && skip.contains(NO_BINUTILS);
    let avoidable = skips.iter().filter(|skip| !is_excused(skip)).count();
    match avoidable {
        0 => Ok(()),
        count => Err(format!("{count} tests were skipped although packages can be reached (above)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last test of the workspace, so that these lines are among the last that `cargo test` prints.
    #[test]
    fn the_skipped_tests_are_said_at_the_end() {
        for skip in read(&root()).unwrap() {
            assert!(skip.strip_prefix("SKIPPED: ").is_some_and(|skip| skip.contains(": ")), "{skip}");
            // Past the test runner, which shows only what failing tests print.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{skip}\n").as_bytes());
        }
    }

    #[test]
    fn a_skip_fails_unless_nothing_can_be_reached() {
        let root = std::env::temp_dir().join(format!("skips-{}", std::process::id()));
        std::fs::create_dir_all(root.join("target/linux")).unwrap();
        assert_eq!(judge(&root), Ok(()));
        std::fs::write(list(&root), "SKIPPED: a: b\nSKIPPED: c: d\n").unwrap();
        assert!(judge(&root).unwrap_err().starts_with("2 tests were skipped"));
        std::fs::write(root.join("target/linux/unreachable"), "no network").unwrap();
        assert_eq!(judge(&root), Ok(()));
        std::fs::remove_file(root.join("target/linux/unreachable")).unwrap();
        std::fs::write(list(&root), format!("SKIPPED: a: 7.3 {NOT_PINNED}\n")).unwrap();
        assert!(judge(&root).is_err());
        std::fs::write(root.join("target/linux/unpinned"), "arm64: it has left the archive").unwrap();
        assert_eq!(judge(&root), Ok(()));
        std::fs::write(list(&root), format!("SKIPPED: a: {NO_BINUTILS}\n")).unwrap();
        assert!(judge(&root).is_err());
        std::fs::create_dir_all(root.join("target/binutils")).unwrap();
        std::fs::write(root.join("target/binutils/unreachable"), "no network").unwrap();
        assert_eq!(judge(&root), Ok(()));
        std::fs::remove_dir_all(&root).unwrap();
    }
}

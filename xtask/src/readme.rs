//! The README's commands. CI runs them as they stand there, so what is promised to a fresh machine is what is tested.

use crate::root;

/// The commands that the README gives to somebody who has only a clone: the first installs and runs everything, the second tests.
///
/// # Errors
///
/// The README cannot be read, or its first shell block is not two commands.
pub(crate) fn commands() -> Result<[String; 2], String> {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    commands_in(&text).map_err(|reason| format!("README.md: {reason}"))
}

fn commands_in(text: &str) -> Result<[String; 2], String> {
    let block =
        text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("there is no shell block")?;
    let lines = block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    <[String; 2]>::try_from(lines).map_err(|lines| format!("its first shell block is not two commands but {lines:?}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Both commands run in a shell of their own, whose PATH may not have cargo.
    #[test]
    fn the_commands_are_sound_and_find_the_cargo_that_setup_installs() {
        let [run, test] = commands().unwrap();
        assert!(run.starts_with(".ci/setup && "), "{run}");
        assert!(run.ends_with(" cargo run --release"), "{run}");
        assert!(test.ends_with(" cargo test --workspace"), "{test}");
        for command in [run, test] {
            let status = Command::new("sh").args(["-n", "-c", &command]).status().expect("there is a shell");
            assert!(status.success(), "{command}");
            assert!(command.contains("PATH=\"$HOME/.cargo/bin:$PATH\" cargo "), "{command}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_no_commands() {
        let text = "text\n```text\nnot this\n```\n```sh\none --x   # first\n\ntwo\n```\n```sh\nthree\n```\n";
        assert_eq!(commands_in(text).unwrap(), ["one --x", "two"]);
        assert!(commands_in("```sh\none\n```").unwrap_err().contains("not two commands"));
        assert!(commands_in("no block").is_err());
    }
}

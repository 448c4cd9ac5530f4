//! What is written is whole, or not there.

use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use super::{ENDLESS, LOOP, Root, json, leaf, text};

const LEAF: &str = "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n";

fn of_leaf(name: &str) -> Root {
    let root = Root::new(name);
    root.guest("arm64", "leaf", &leaf("arm64"));
    root.scenario("arm64", "leaf", LEAF);
    root
}

/// Each command with an output is refused at once, not when its run is over: here, never.
#[test]
fn an_output_that_cannot_be_written_costs_no_run() {
    let root = Root::of("unwritable", "arm64", LOOP, &format!("return-hook = \"fgraph\"\n{ENDLESS}"));
    root.fifo("fifo");
    std::fs::write(root.path("file"), "old").expect("a file");
    std::fs::write(root.path("runs.log"), "uwh-log1").expect("a file");
    std::fs::create_dir(root.path("folder")).expect("a folder");
    symlink("nothing", root.path("link")).expect("a link");
    let guest = root.path("guests/arm64/bad.elf");
    let guest = guest.to_str().expect("text");
    let before = root.names();
    for command in [
        &["run", "--json"][..],
        &["run", "--log"],
        &["--json"],
        &["check", "--json"],
        &["judge", "runs.log", "--json"],
        &["atlas", "--json"],
        &["atlas", "--html"],
        &["sframe", "encode", guest, "-o"],
    ] {
        for (path, says) in [
            ("missing/report.json", "missing/report.json: No such file or directory"),
            ("file/report.json", "file/report.json: Not a directory"),
            ("folder", "folder: it is a folder"),
            ("fifo", "fifo: it is a FIFO"),
            ("/dev/null", "/dev/null: it is a device; name a file, or - for standard output"),
            ("/dev/full", "it is a device"),
            ("link", "link: it is a symbolic link to nothing"),
            // No one may make files there, not even root.
            ("/proc/report.json", "/proc/report.json: "),
            ("..", "..: it is a folder"),
            ("", ": "),
        ] {
            root.refused(&[command, &[path]].concat(), &[says]);
        }
    }
    root.refused(&["run", "--json", "file", "--log", "./file"], &["--json and --log both write to ./file"]);
    root.refused(&["run", "--json", "-", "--log", "-"], &["--json and --log both write to -"]);
    root.refused(&["atlas", "--json", "new", "--html", "folder/../new"], &["--json and --html both"]);
    root.refused(&["judge", "runs.log", "--json", "folder/../runs.log"], &["is the file that is read"]);
    root.refused(&["sframe", "encode", guest, "-o", "file"], &["file exists", "overwrites nothing"]);
    assert_eq!(root.names(), before);
    assert_eq!(std::fs::read_to_string(root.path("file")).expect("the file"), "old");
}

/// The limit on the size of files stands for a disk that is full.
#[test]
fn a_full_disk_leaves_the_old_file() {
    let root = of_leaf("full");
    std::fs::write(root.path("report.json"), "old").expect("a file");
    let program = env!("CARGO_BIN_EXE_unwind-harness");
    let guest = root.path("guests/arm64/leaf.elf");
    let encode = format!("sframe encode {} -o copy.elf", guest.display());
    for arguments in ["run --json report.json", "run --log new.log", "check --json report.json", &encode] {
        let script = format!("trap '' XFSZ; ulimit -f 1; exec '{program}' {arguments}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(&root.0).output().expect("sh starts");
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output.stderr));
        let file = arguments.rsplit(' ').next().expect("a word");
        assert!(text(&output.stderr).contains(&format!("error: {file}: File too large")), "{}", text(&output.stderr));
        assert_eq!(root.names(), ["report.json"], "{arguments}");
        assert_eq!(std::fs::read_to_string(root.path("report.json")).expect("the file"), "old");
    }
    // Standard output is a file like any other.
    for arguments in [&["run"][..], &["run", "--json", "-"], &["list"], &["--help"], &["check"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let status = root.command(arguments).stdout(full).stderr(Stdio::null()).status().expect("it starts");
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

/// As with `| head -0`: the gates are held all the same, and the files are written.
#[test]
fn a_reader_that_leaves_changes_no_status() {
    let root = of_leaf("closed");
    let broken = Root::new("closed-broken");
    broken.guest("arm64", "leaf", &leaf("arm64"));
    broken.scenario("arm64", "leaf", "guest = \"leaf\"\n");
    let elf = root.path("guests/arm64/leaf.elf");
    let encode = ["sframe", "encode", elf.to_str().expect("text"), "-o", "-"];
    for (root, arguments, status) in [
        (&root, &["run", "--json", "report.json", "--listing"][..], 0),
        (&broken, &["run", "--json", "report.json"], 1),
        (&root, &["run", "--json", "-"], 0),
        (&root, &["list"], 0),
        (&root, &["check"], 0),
        (&root, &encode, 0),
    ] {
        let mut child =
            root.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut error).expect("text");
        let found = child.wait().expect("it ends").code();
        assert_eq!(found, Some(status), "{arguments:?}: {error}");
        assert!(!error.contains("error"), "{arguments:?}: {error}");
    }
    for root in [root, broken] {
        assert_eq!(json(&root.path("report.json"))["scenarios"][0]["name"], "arm64/leaf");
    }
}

#[test]
fn a_dash_is_standard_output() {
    let root = of_leaf("dash");
    root.scenario("arm64", "hooked", &format!("return-hook = \"fgraph\"\n{LEAF}"));
    let table = root.run(&["run", "--json", "report.json", "--log", "runs.log"]).stdout;
    root.run(&["check", "--json", "rows.json"]);
    root.run(&["atlas", "--json", "atlas.json", "--html", "atlas.html"]);
    for (arguments, file) in [
        (&["run", "--json", "-"][..], "report.json"),
        (&["run", "--log", "-"], "runs.log"),
        (&["judge", "runs.log", "--json", "-"], "report.json"),
        (&["check", "--json", "-"], "rows.json"),
        (&["atlas", "--json", "-"], "atlas.json"),
        (&["atlas", "--html", "-"], "atlas.html"),
    ] {
        let output = root.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout == std::fs::read(root.path(file)).expect(file), "{arguments:?}: another document");
        assert!(!output.stderr.is_empty(), "{arguments:?}: the table is on standard error");
        if arguments[0] == "run" {
            // The first line says how long it took.
            let rest = |bytes: &[u8]| text(bytes).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(rest(&output.stderr), rest(&table));
        }
    }
    let elf = root.path("guests/arm64/leaf.elf");
    let elf = elf.to_str().expect("text");
    let summary = root.run(&["sframe", "encode", elf, "-o", "copy.elf"]).stdout;
    let output = root.run(&["sframe", "encode", elf, "-o", "-"]);
    assert!(output.stdout == std::fs::read(root.path("copy.elf")).expect("the copy"));
    assert_eq!(
        text(&output.stderr).split_once(": ").expect("a name").1,
        text(&summary).split_once(": ").expect("a name").1
    );
    let mode = |name: &str| std::fs::metadata(root.path(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(mode("copy.elf"), mode("guests/arm64/leaf.elf"));
    assert!(!root.names().iter().any(|name| name.starts_with('.') || name == "-"), "{:?}", root.names());
}

#[test]
fn a_new_file_has_the_permissions_that_the_user_gives_to_files() {
    let root = of_leaf("umask");
    let program = env!("CARGO_BIN_EXE_unwind-harness");
    let script = format!("umask 027; exec '{program}' run --json report.json");
    let status = Command::new("sh").args(["-c", &script]).current_dir(&root.0).stdout(Stdio::null()).status();
    assert!(status.expect("sh starts").success());
    let mode = std::fs::metadata(root.path("report.json")).expect("the report").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// What the documents promise: every option that takes an output says what `-` means.
#[test]
fn help_says_where_a_document_goes() {
    let root = of_leaf("help");
    for (command, options) in [("run", 5), ("check", 5), ("judge", 4), ("merge", 4), ("atlas", 2)]
        .map(|(command, options)| (vec![command], options))
        .into_iter()
        .chain([(vec!["sframe", "encode"], 1)])
    {
        let help = root.run(&[&command[..], &["--help"]].concat()).stdout;
        assert_eq!(text(&help).matches("`-`: ").count(), options, "{command:?}: {}", text(&help));
    }
}

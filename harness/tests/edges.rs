//! Where the harness meets the rest of the world: guests that never end, outputs that cannot be written, signals, pipes, FIFOs.

mod input;
mod interrupted;
mod output;

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An instruction, by CPU.
type Instruction = [(&'static str, &'static [u8]); 3];

/// A branch to itself.
const LOOP: Instruction = [("arm64", &[0, 0, 0, 0x14]), ("riscv64", &[0x6f, 0, 0, 0]), ("x86_64", &[0xeb, 0xfe])];

/// A call of itself.
const CALL: Instruction =
    [("arm64", &[0, 0, 0, 0x94]), ("riscv64", &[0xef, 0, 0, 0]), ("x86_64", &[0xe8, 0xfb, 0xff, 0xff, 0xff])];

/// On x86-64, a locked `btr` of a register, which does not exist; elsewhere nothing.
const LOCKED: Instruction = [("arm64", &[]), ("riscv64", &[]), ("x86_64", &[0xf0, 0x0f, 0xb3, 0xc0])];

/// Longer than any test waits.
const ENDLESS: &str = "guest = \"bad\"\nbudget = 1000000000\n[must]\nframe-record = \"any\"\n";

/// A folder of the tests' own with scenarios and guests.
struct Root(PathBuf);

impl Root {
    /// An empty one.
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edges").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        for cpu in ["arm64", "riscv64", "x86_64"] {
            for part in ["scenarios", "guests"] {
                std::fs::create_dir_all(folder.join(part).join(cpu)).expect("a new folder");
            }
        }
        Self(folder)
    }

    /// One whose only run, `<cpu>/bad`, begins each call of `leaf` with this instruction.
    fn of(name: &str, cpu: &str, instruction: Instruction, scenario: &str) -> Self {
        let root = Self::new(name);
        root.guest(cpu, "bad", &planted(cpu, instruction));
        root.scenario(cpu, "bad", scenario);
        root
    }

    fn scenario(&self, cpu: &str, name: &str, text: &str) {
        std::fs::write(self.path(&format!("scenarios/{cpu}/{name}.toml")), text).expect("a new file");
    }

    fn guest(&self, cpu: &str, name: &str, elf: &[u8]) {
        std::fs::write(self.path(&format!("guests/{cpu}/{name}.elf")), elf).expect("a new file");
    }

    /// A path below it.
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The program, with this root and working directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// Runs the program, which must end soon.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        let start = Instant::now();
        let output = self.command(arguments).output().expect("the program starts");
        assert!(start.elapsed() < Duration::from_secs(60), "{arguments:?} took {:?}", start.elapsed());
        assert!(output.status.code().is_some(), "{arguments:?}: {}{}", output.status, text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{arguments:?}: {}", text(&output.stderr));
        output
    }

    /// Runs the program, which must refuse to work, and say all of this.
    #[track_caller]
    fn refused(&self, arguments: &[&str], says: &[&str]) {
        let start = Instant::now();
        let output = self.run(arguments);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{arguments:?}: {error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{arguments:?}: only after {:?}", start.elapsed());
        for part in says {
            assert!(error.contains(part), "{arguments:?} should say {part:?}:\n{error}");
        }
    }

    /// A FIFO that nobody writes to.
    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success() && std::fs::metadata(&path).expect("it").file_type().is_fifo());
        path
    }

    /// The names in it, without its scenarios and guests.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        let mut names: Vec<String> = names.filter(|name| name != "scenarios" && name != "guests").collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn leaf(cpu: &str) -> Vec<u8> {
    std::fs::read(root().join(format!("guests/{cpu}/leaf.elf"))).expect("the guest")
}

/// The guest `leaf` of a CPU, with another first instruction in its function `leaf`.
fn planted(cpu: &str, instruction: Instruction) -> Vec<u8> {
    let mut elf = leaf(cpu);
    let bytes = instruction.iter().find(|(name, _)| *name == cpu).expect("the CPU").1;
    let at = {
        let file = object::File::parse(&*elf).expect("an ELF file");
        let address = file.symbols().find(|symbol| symbol.name() == Ok("leaf")).expect("the function").address();
        let segment =
            file.segments().find(|it| (it.address()..it.address() + it.size()).contains(&address)).expect("code");
        (segment.file_range().0 + address - segment.address()) as usize
    };
    elf[at..at + bytes.len()].copy_from_slice(bytes);
    elf
}

/// The document in a file.
fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

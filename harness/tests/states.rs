//! Written states: a run that begins in the middle of a program, from what a debugger could tell.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use unwind_harness::cpu::{self, Cpu, Register, Regs};
use unwind_harness::guest::{Listings, Program};
use unwind_harness::machine::Machine;
use unwind_harness::oracle::{Oracle, Witnesses};
use unwind_harness::trace::{Action, Observer, Point, RegisterSet, Run as _};

const PAGE: u64 = 0x1000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is true at the first arrival at an instruction.
struct Capture<'p> {
    program: &'p Program,
    oracle: Oracle<'p>,
    at: u64,
    regs: Option<Regs>,
    /// Where each activation resumes, its CFA and its callee-saved registers, innermost first.
    waiting: Vec<(u64, u64, Vec<u64>)>,
    stack: Vec<u8>,
}

impl Observer for Capture<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        if at.pc != self.at {
            return Action::Continue;
        }
        let cpu = self.program.guest.cpu;
        let mut regs = Regs::none();
        at.read(&RegisterSet::all(cpu), &mut regs);
        self.regs = Some(regs);
        let saved = cpu.callee_saved.len();
        let waiting = self.oracle.truth().activations();
        self.waiting = waiting.map(|it| (it.resume, it.cfa, it.saved[..saved].to_vec())).collect();
        let bounds = &self.program.layout.stacks[0].bounds;
        self.stack = vec![0; (bounds.high - bounds.low) as usize];
        assert!(at.memory.read(bounds.low, &mut self.stack));
        Action::Stop
    }
}

/// The state in which `leaf` of the guest `leaf` is entered, as a case; `edit` changes its lines.
fn state(cpu: &'static Cpu, edit: impl Fn(String) -> String) -> PathBuf {
    let elf = root().join("guests").join(cpu.name).join("leaf.elf");
    let program = Program::load(&elf, cpu, &[], 0, &Listings::default()).expect("the guest loads");
    let at = program.guest.function("leaf").expect("the function").address;
    let oracle = Oracle::new(&program, Witnesses::default());
    let mut capture = Capture { program: &program, oracle, at, regs: None, waiting: Vec::new(), stack: Vec::new() };
    Machine::new(&program, "_start", 10_000).expect("a machine").drive(&mut capture).expect("it runs");
    let regs = capture.regs.expect("leaf was entered");
    let register = |number| {
        let value = regs.get(Register(number))?;
        Some(format!("{} = \"{value:#x}\"\n", cpu.abi.register_name(Register(number)).to_uppercase()))
    };
    let mut text = format!(
        "elf = {:?}\narch = {:?}\nstart = \"leaf\"\nunwinders = [\"dwarf\"]\nmemory = \"user\"\n",
        elf, cpu.name
    );
    // Until the function below has returned, so that activations from before the run resume.
    text += &format!("stop = \"{:#x}\"\n\n[registers]\n", capture.waiting[1].0);
    text.extend((0..cpu.registers).filter_map(register));
    let bounds = &program.layout.stacks[0].bounds;
    text += &format!("\n[[stack]]\nlow = \"{:#x}\"\nhigh = \"{:#x}\"\n", bounds.low, bounds.high);
    for (resume, cfa, saved) in &capture.waiting {
        let saved: Vec<String> = saved.iter().map(|value| format!("\"{value:#x}\"")).collect();
        let saved = saved.join(", ");
        text += &format!("\n[[activation]]\nreturn = \"{resume:#x}\"\ncfa = \"{cfa:#x}\"\nsaved = [{saved}]\n");
    }
    let low = bounds.low.next_multiple_of(PAGE);
    let skipped = (low - bounds.low) as usize;
    let data = STANDARD.encode(compress_to_vec(&capture.stack[skipped..], CompressionLevel::Fastest));
    text += &format!("\n[[page]]\naddress = \"{low:#x}\"\ndata = \"{data}\"\n");
    let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", cpu.name));
    std::fs::write(&path, edit(text)).expect("a file");
    path
}

fn tool(command: &str, path: &Path, more: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
        .args([command, "--case"])
        .arg(path)
        .args(more)
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

#[rstest]
fn a_state_in_the_middle_of_a_program_is_judged(#[values("arm64", "riscv64", "x86_64")] name: &str) {
    let cpu = cpu::by_name(name).expect("a CPU");
    let path = state(cpu, |text| text);
    let (output, text) = tool("check", &path, &["--json", "-"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let points = document["points"].as_u64().expect("points");
    assert!(points > 8, "{text}");
    let level = &document["levels"]["dwarf"];
    for key in ["innermost_right", "return_addresses_right", "exact"] {
        assert_eq!(level[key], points, "{key} of {text}");
    }
    let (output, text) = tool("run", &path, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (output, text) = tool("explain", &path, &["leaf+0x0"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("guest_main+"), "{text}");
}

/// Who wrote the state down may be wrong. A function that returns elsewhere, or with other registers, contradicts it.
#[test]
fn a_false_activation_voids_the_run() {
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let path = state(cpu, |text| {
        // The innermost, whose call returns before the run ends.
        let at = text.match_indices("saved = [\"").next().expect("an activation waits").0;
        let (head, tail) = text.split_at(at);
        let (_, rest) = tail.split_once(',').expect("more than one register");
        format!("{head}saved = [\"0x1234567\",{rest}")
    });
    let (output, text) = tool("run", &path, &[]);
    assert!(matches!(output.status.code(), Some(2 | 3)), "{text}");
}

#[rstest]
#[case("arch = \"arm64\"", "arch = \"arm\"", "no such CPU")]
#[case("start = \"leaf\"", "start = \"leave\"", "no such symbol")]
#[case("start = \"leaf\"", "start = \"0x10\"", "no code at 0x10")]
#[case("stop = ", "stops = ", "unknown field")]
#[case("unwinders = [\"dwarf\"]", "unwinders = [\"orc\"]", "\"orc\" does not walk here")]
#[case("[registers]\n", "[registers]\nX99 = \"0x1\"\n", "registers.X99: there is no such register")]
#[case("[registers]\n", "[registers]\nV0 = \"0x1g\"\n", "is no number")]
#[case("[[page]]\naddress = \"0x", "[[page]]\naddress = \"0x1", "page: ")]
#[case("data = \"", "data = \"%", "not base64")]
#[case("\nhigh = \"0x", "\nhigh = \"0x1", "has more than 64 bits")]
#[case("[[page]]", "[[symbol]]\nname = \"f\"\naddress = \"0xffffffffffffffff\"\nsize = 2\n\n[[page]]", "wraps around")]
fn what_is_wrong_with_a_state_is_said(#[case] from: &str, #[case] to: &str, #[case] says: &str) {
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let path = state(cpu, |text| {
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1)
    });
    let (output, text) = tool("check", &path, &[]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(says), "{text}");
}

/// Registers beyond the general ones are set by their names, wide ones whole.
#[test]
fn named_registers_are_set() {
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let more =
        "V3 = \"0x0123456789abcdef0123456789abcdef\"\nTPIDR_EL0 = \"0x5000\"\nPSTATE = \"0x60000005\"\nFPCR = \"0\"\n";
    let path = state(cpu, |text| text.replacen("[registers]\n", &format!("[registers]\n{more}"), 1));
    let (output, text) = tool("check", &path, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

/// Code alone: `f` asks its kernel for something, adds 1 and returns.
#[rstest]
#[case("arm64", &[0xe8, 0x07, 0x80, 0xd2, 1, 0, 0, 0xd4, 0, 4, 0, 0x91, 0xc0, 3, 0x5f, 0xd6], "X30 = \"0x20000\"\n", "system call 63")]
#[case("riscv64", &[0x93, 8, 0xf0, 3, 0x73, 0, 0, 0, 0x13, 5, 0x15, 0, 0x67, 0x80, 0, 0], "RA = \"0x20000\"\n", "system call 63")]
#[case("x86_64", &[0xb8, 0x27, 0, 0, 0, 0x0f, 5, 0x48, 0xff, 0xc0, 0xc3], "", "system call 39")]
fn a_kernels_answers_stand_in_the_state(
    #[case] name: &str,
    #[case] code: &[u8],
    #[case] link: &str,
    #[case] call: &str,
) {
    let packed = |bytes: &[u8]| STANDARD.encode(compress_to_vec(bytes, CompressionLevel::Fastest));
    // x86-64 returns to the word at SP; elsewhere nobody reads it.
    let (sp, cfa) = if name == "x86_64" { (0x3_0ff8, 0x3_1000) } else { (0x3_0ff0, 0x3_0ff0) };
    let mut stack = [0; 0x1000];
    stack[0xff8..].copy_from_slice(&0x2_0000_u64.to_le_bytes());
    let text = format!(
        "arch = {name:?}\nstart = \"f\"\n\n[registers]\nSP = \"{sp:#x}\"\n{link}\n[[activation]]\nreturn = \"0x20000\"\ncfa = \"{cfa:#x}\"\n\n\
         [[stack]]\nlow = \"0x30000\"\nhigh = \"0x31000\"\n\n[[page]]\naddress = \"0x10000\"\ndata = \"{}\"\nflags = \"rx\"\n\n\
         [[page]]\naddress = \"0x30000\"\ndata = \"{}\"\n\n[[symbol]]\nname = \"f\"\naddress = \"0x10000\"\nsize = {}\n",
        packed(code),
        packed(&stack),
        code.len()
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("answers-{name}.toml"));
    std::fs::write(&path, &text).expect("a file");
    let (output, said) = tool("run", &path, &[]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(call) && said.contains("[[syscall]]") && said.contains("f+0x"), "{said}");

    let answer = format!(
        "\n[[syscall]]\nresult = \"0x2a\"\nwrite = [{{ address = \"0x30010\", data = \"{}\" }}]\n",
        packed(&[7; 8])
    );
    std::fs::write(&path, text.clone() + &answer).expect("a file");
    let (output, said) = tool("run", &path, &["--json", "-"]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["totals"]["points"], 4, "{said}");

    let outside = answer.replace("0x30010", "0x40010");
    std::fs::write(&path, text + &outside).expect("a file");
    let (output, said) = tool("run", &path, &[]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("syscall 0: it writes 0x8 bytes at 0x40010"), "{said}");
}

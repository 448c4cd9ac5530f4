//! Compiles and links the guests, and proves that the checked-in ELFs are what their sources say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};
use sha2::{Digest as _, Sha256};

use crate::selection::{Candidate, select};
use crate::{Outcome, root};

/// Debian 12's LLVM. Another version may lay the same source out differently, so nothing else is accepted.
const LLVM_VERSION: &str = "14.0.6";
const CLANG: &str = "clang-14";
const LLD: &str = "ld.lld-14";

/// What a CPU's compiler needs to be told, and where its guests live.
struct Cpu {
    name: &'static str,
    target: &'static str,
    flags: &'static [&'static str],
    base: &'static str,
}

const CPUS: &[Cpu] = &[
    Cpu { name: "arm64", target: "aarch64-none-elf", flags: &["-mgeneral-regs-only"], base: "0xffff800080000000" },
    Cpu {
        name: "riscv64",
        target: "riscv64-none-elf",
        // lld 14 does not know R_RISCV_ALIGN, which relaxation needs.
        flags: &["-march=rv64imac", "-mabi=lp64", "-mno-relax", "-mcmodel=medany"],
        base: "0xffffffff80000000",
    },
    Cpu {
        name: "x86_64",
        target: "x86_64-none-elf",
        flags: &["-mcmodel=kernel", "-mno-red-zone", "-mgeneral-regs-only"],
        base: "0xffffffff81000000",
    },
];

/// Flags of every compilation: freestanding code with frame pointers, leaves without frames, unwind data in a section that is
/// not loaded, nothing that varies from one machine to the next.
const FLAGS: &[&str] = &[
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-fno-stack-protector",
    "-fno-pic",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fforce-dwarf-frame",
    "-fno-ident",
    "-fno-omit-frame-pointer",
    "-momit-leaf-frame-pointer",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// The folders of guests. Those of the museum are built as all others are, and run by nothing but `unwind-harness museum`.
const TREES: [&str; 2] = ["guests", "harness/museum/guests"];

/// One ELF to be made.
struct Build<'a> {
    /// One of [`TREES`].
    tree: &'static str,
    cpu: &'a Cpu,
    name: String,
    source: PathBuf,
    flags: Vec<String>,
    /// Whether `start.S` is linked in; a kernel guest boots by itself.
    start: bool,
}

impl Build<'_> {
    /// The ELF's path below its tree.
    fn label(&self) -> String {
        format!("{}/{}.elf", self.cpu.name, self.name)
    }

    fn candidate(&self) -> Candidate<'_> {
        let source = self.source.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        Candidate { cpu: self.cpu.name, name: &self.name, source }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    check: bool,
    /// `leaf` or `arm64/leaf`; none means all.
    names: Vec<String>,
    /// Whose guests, if not this repository's: the folder that holds `guests`. What they include still comes from here.
    root: Option<PathBuf>,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut request = Self { check: false, names: Vec::new(), root: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--check" => request.check = true,
                "--root" => request.root = Some(rest.next().ok_or("--root needs a folder")?.into()),
                flag if flag.starts_with('-') => {
                    return Err(format!("guests takes names, --check and --root, not {flag:?}"));
                }
                name => request.names.push(name.to_owned()),
            }
        }
        Ok(request)
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let Request { check, names, root: own } = Request::parse(arguments)?;
    // A folder of one's own has no museum.
    let trees = if own.is_some() { &TREES[..1] } else { &TREES[..] };
    let base = own.clone().unwrap_or_else(root);
    let each = || trees.iter().flat_map(|tree| CPUS.iter().map(move |cpu| (*tree, cpu)));
    let mut builds = Vec::new();
    for (tree, cpu) in each() {
        builds.extend(builds_of(&base, tree, cpu)?);
    }
    let candidates: Vec<_> = builds.iter().map(Build::candidate).collect();
    let selected = select(&names, &candidates)?;
    require_toolchain()?;
    let scratch = root().join("target").join(if own.is_some() { "own-guests" } else { "guests" });
    let mut problems = Vec::new();
    let count = selected.iter().filter(|selected| **selected).count();
    for (build, _) in builds.iter().zip(selected).filter(|(_, selected)| *selected) {
        let made = make(&base, &scratch, build, &Placement::kernel(build.cpu))?;
        let checked_in = base.join(build.tree).join(build.label());
        if check {
            problems.extend(compare(&format!("{}/{}", build.tree, build.label()), &made, &checked_in));
        } else {
            std::fs::copy(&made, &checked_in).map_err(|error| format!("{}: {error}", checked_in.display()))?;
        }
    }
    if names.is_empty() {
        for (tree, cpu) in each() {
            problems.extend(orphans(&base, tree, cpu, &builds)?);
        }
    }
    for tree in trees {
        problems.extend(write_or_check_manifest(&base, tree, &builds, check)?);
    }
    if problems.is_empty() {
        eprintln!("guests: {count} of {} ELFs {}", builds.len(), if check { "match their sources" } else { "written" });
        return Ok(());
    }
    Err(format!("{}\nrun `cargo xtask guests` and commit what it writes", problems.join("\n")))
}

/// Lists the checked-in ELFs of all builds with their hashes in MANIFEST.toml; or says what is wrong with the list that is there.
fn write_or_check_manifest(
    base: &Path,
    tree: &str,
    builds: &[Build<'_>],
    check: bool,
) -> Result<Option<String>, String> {
    let guests = base.join(tree);
    let mut hashes = BTreeMap::new();
    for label in builds.iter().filter(|build| build.tree == tree).map(Build::label) {
        // A new guest that was not among the names has no ELF yet, and no place in the list.
        if let Ok(bytes) = std::fs::read(guests.join(&label)) {
            hashes.insert(label, format!("{:x}", HexDigest(&Sha256::digest(bytes))));
        }
    }
    let manifest = manifest(&hashes);
    let path = guests.join("MANIFEST.toml");
    if check {
        let is_right = std::fs::read_to_string(&path).is_ok_and(|text| text == manifest);
        return Ok((!is_right).then(|| format!("{tree}/MANIFEST.toml does not list these ELFs with these hashes")));
    }
    std::fs::write(&path, manifest).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(None)
}

/// Refuses any LLVM but the pinned one, with the command that installs it.
pub(crate) fn require_toolchain() -> Outcome {
    for (program, argument) in [(CLANG, "--version"), (LLD, "--version")] {
        let output = Command::new(program)
            .arg(argument)
            .output()
            .map_err(|error| format!("{program}: {error}; on Debian 12: apt-get install clang-14 lld-14"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.contains(LLVM_VERSION) {
            let first = text.lines().next().unwrap_or_default();
            return Err(format!("{program} is {first:?}, but the guests are pinned to LLVM {LLVM_VERSION}"));
        }
    }
    Ok(())
}

/// The builds of one CPU, by name: its own assembly, and the C that is compiled for every CPU.
fn builds_of<'a>(base: &Path, tree: &'static str, cpu: &'a Cpu) -> Result<Vec<Build<'a>>, String> {
    let guests = base.join(tree);
    let mut builds = Vec::new();
    for (folder, extension) in [(guests.join(cpu.name), "S"), (guests.join("any"), "c")] {
        if !folder.is_dir() {
            continue; // the museum has no C
        }
        for source in files(&folder, extension)? {
            let text = std::fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
            let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let start = !text.lines().any(|line| line.trim_end() == "//@ start none");
            let mut named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("//@ build ")).collect();
            if named.is_empty() {
                named.push(&stem);
            }
            for line in named {
                let (name, flags) = line.split_once(':').unwrap_or((line, ""));
                let mut flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
                if extension == "c" && !flags.iter().any(|flag| flag.starts_with("-O")) {
                    flags.insert(0, "-O2".to_owned());
                }
                builds.push(Build { tree, cpu, name: name.trim().to_owned(), source: source.clone(), flags, start });
            }
        }
    }
    builds.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(builds)
}

/// The files of a folder with this extension, in order; a folder of one's own need not have each.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    Ok(found)
}

/// Where a guest is linked to, and with which unwind data.
struct Placement {
    address: &'static str,
    script: PathBuf,
    compile: &'static [&'static str],
    link: &'static [&'static str],
}

impl Placement {
    /// As the guests are checked in: at an address of a CPU's kernels, with unwind data that are not loaded.
    fn kernel(cpu: &Cpu) -> Self {
        Self { address: cpu.base, script: root().join("guests/guest.ld"), compile: &[], link: &[] }
    }

    /// As a program of user space: at a low address, with unwind data as its C library would look for them. Writes the script.
    fn user(folder: &Path) -> Result<Self, String> {
        let script = folder.join("user.ld");
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let kernel = root().join("guests/guest.ld");
        let text = std::fs::read_to_string(&kernel).map_err(|error| failed(&kernel, error))?;
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        std::fs::write(&script, with_loaded_cfi(&text)?).map_err(|error| failed(&script, error))?;
        let compile = &["-DLOADED_CFI", "-funwind-tables", "-fasynchronous-unwind-tables"];
        Ok(Self { address: "0x10000000", script, compile, link: &["--eh-frame-hdr"] })
    }
}

/// The linker's script of guests, with `.eh_frame` and its index in memory.
fn with_loaded_cfi(script: &str) -> Result<String, String> {
    let parts = [
        ("  data     PT_LOAD", "  index    PT_GNU_EH_FRAME FLAGS(4);\n"),
        (
            "  .sframe :",
            "  .eh_frame_hdr : { *(.eh_frame_hdr) } :rodata :index\n  .eh_frame : { KEEP(*(.eh_frame)) } :rodata\n",
        ),
    ];
    parts.iter().try_fold(script.to_owned(), |text, (before, added)| match text.split_once(before) {
        Some((head, rest)) => Ok(format!("{head}{added}{before}{rest}")),
        None => Err(format!("guests/guest.ld has no line {before:?}")),
    })
}

/// Builds guests as programs of user space into `FOLDER/guests/<cpu>`: all builds of the sources that are named, and no others.
pub(crate) fn make_user(names: &[&str], folder: &Path) -> Outcome {
    require_toolchain()?;
    let base = root();
    let placement = Placement::user(folder)?;
    for cpu in CPUS {
        for build in builds_of(&base, TREES[0], cpu)? {
            if names.contains(&build.candidate().source) {
                make(&base, folder, &build, &placement)?;
            }
        }
    }
    Ok(())
}

/// Compiles and links one guest into the scratch folder.
fn make(base: &Path, scratch: &Path, build: &Build<'_>, placement: &Placement) -> Result<PathBuf, String> {
    let folder = scratch.join(build.tree).join(build.cpu.name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let shared = root().join("guests");
    let include = shared.join(build.cpu.name).join("include");
    let mut objects = Vec::new();
    let start = build.start.then(|| ("start", include.join("start.S")));
    for (part, source) in start.into_iter().chain([("guest", build.source.clone())]) {
        let object = folder.join(format!("{}.{part}.o", build.name));
        let mut clang = Command::new(CLANG);
        clang.arg(format!("--target={}", build.cpu.target)).args(FLAGS).args(build.cpu.flags).args(placement.compile);
        clang
            .arg("-I")
            .arg(base.join(build.tree))
            .arg("-I")
            .arg(&shared)
            .arg("-I")
            .arg(&include)
            .args(&build.flags)
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(&object);
        execute(clang)?;
        objects.push(object);
    }
    let linked = folder.join(format!("{}.elf", build.name));
    let mut lld = Command::new(LLD);
    lld.arg("-T").arg(&placement.script).args(placement.link).args([
        "-z",
        "max-page-size=4096",
        "--build-id=none",
        "--discard-locals",
    ]);
    lld.arg(format!("--defsym=GUEST_BASE={}", placement.address)).args(&objects).arg("-o").arg(&linked);
    execute(lld)?;
    Ok(linked)
}

fn execute(mut command: Command) -> Outcome {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() && output.stderr.is_empty() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// What a guest is to the machine: its loaded segments and its symbols. File offsets and section order do not matter.
#[derive(PartialEq, Eq)]
struct Loaded {
    segments: Vec<(u64, u64, elf::ProgramFlags, Vec<u8>)>,
    symbols: Vec<(u64, u64, Vec<u8>)>,
}

fn loaded(path: &Path) -> Result<Loaded, String> {
    let data = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let malformed = |error: object::Error| format!("{}: {error}", path.display());
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(&*data).map_err(malformed)?;
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, &*data).map_err(malformed)? {
        if segment.p_type(endian) == elf::PT_LOAD {
            let bytes = segment.data(endian, &*data).map_err(|()| format!("{}: truncated segment", path.display()))?;
            segments.push((segment.p_vaddr(endian), segment.p_memsz(endian), segment.p_flags(endian), bytes.to_vec()));
        }
    }
    let sections = header.sections(endian, &*data).map_err(malformed)?;
    let table = sections.symbols(endian, &*data, elf::SHT_SYMTAB).map_err(malformed)?;
    let mut symbols = Vec::new();
    for symbol in table.iter() {
        let name = symbol.name(endian, table.strings()).map_err(malformed)?;
        symbols.push((symbol.st_value(endian), symbol.st_size(endian), name.to_vec()));
    }
    symbols.sort();
    Ok(Loaded { segments, symbols })
}

fn compare(label: &str, made: &Path, checked_in: &Path) -> Option<String> {
    match (loaded(made), loaded(checked_in)) {
        (Ok(left), Ok(right)) if left == right => None,
        (Ok(left), Ok(right)) if left.segments == right.segments => Some(format!("{label}: symbols differ")),
        (Ok(_), Ok(_)) => Some(format!("{label}: loaded bytes differ")),
        (Err(reason), _) | (_, Err(reason)) => Some(reason),
    }
}

/// ELFs that no source makes.
fn orphans(base: &Path, tree: &str, cpu: &Cpu, builds: &[Build<'_>]) -> Result<Vec<String>, String> {
    let builds: Vec<_> = builds.iter().filter(|build| build.tree == tree && build.cpu.name == cpu.name).collect();
    let is_made = |path: &PathBuf| builds.iter().any(|build| path.file_stem().is_some_and(|stem| *stem == *build.name));
    Ok(files(&base.join(tree).join(cpu.name), "elf")?
        .into_iter()
        .filter(|path| !is_made(path))
        .map(|path| format!("{}: no source makes it; remove it", path.display()))
        .collect())
}

fn manifest(hashes: &BTreeMap<String, String>) -> String {
    let mut text = String::from("# Written by `cargo xtask guests`; do not edit.\n");
    let _ = writeln!(text, "llvm = \"{LLVM_VERSION}\"\n\n[sha256]");
    for (label, hash) in hashes {
        let _ = writeln!(text, "\"{label}\" = \"{hash}\"");
    }
    text
}

/// Prints bytes as lower-case hexadecimal digits.
struct HexDigest<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexDigest<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Result<Request, String> {
        Request::parse(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_the_flag_come_in_any_order() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(request(&[]), Ok(Request { check: false, names: names(&[]), root: None }));
        assert_eq!(request(&["leaf", "--check", "arm64/fgraph"]), {
            Ok(Request { check: true, names: names(&["leaf", "arm64/fgraph"]), root: None })
        });
        let own = Request { check: false, names: names(&["leaf"]), root: Some("there".into()) };
        assert_eq!(request(&["--root", "there", "leaf"]), Ok(own));
        assert!(request(&["--root"]).is_err());
        assert_eq!(request(&["--chek"]), Err("guests takes names, --check and --root, not \"--chek\"".to_owned()));
    }
}

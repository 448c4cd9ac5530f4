//! Scenarios: which guest, which points, and what each subject must achieve. One TOML file each.

mod convention;
mod known;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cpu::{self, Cpu, Exception};
use crate::guest::Program;
use crate::guest::return_hook::{PLAIN, ReturnHook};
use crate::verdict::Verdict;

pub use convention::{Convention, Outlined};
pub use known::Known;

/// A scenario: the content of its TOML file, and its name.
pub struct Scenario {
    /// `<cpu>/<file stem>`.
    pub name: String,
    /// The TOML file.
    pub path: PathBuf,
    /// The CPU, named by the folder.
    pub cpu: &'static Cpu,
    /// The text of the file.
    pub source: String,
    /// The parsed file.
    pub text: Text,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The keys of a scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Text {
    /// The guest's file stem in `guests/<cpu>/`. Variants may name another build.
    pub guest: String,
    /// The function at which the guest is entered.
    #[serde(default = "default_entry")]
    pub entry: String,
    /// The CPU model: `"max"` has every feature that the emulator has (arm64: pointer authentication).
    #[serde(default)]
    pub cpu: Model,
    /// How points are interrupted.
    #[serde(default = "default_interrupt")]
    pub interrupt: Vec<Interruption>,
    /// The second exception of kind `nested`; `None`: [`Cpu::nested_exception`].
    #[serde(default)]
    pub nested: Option<Second>,
    /// The functions whose instructions are points; empty: all that run. For kind `nested`, points of the second exception.
    #[serde(default)]
    pub within: Vec<String>,
    /// For kind `nested`, the functions in which the first exception is taken; empty: all that run.
    #[serde(default)]
    pub outer: Vec<String>,
    /// How many arrivals at each instruction are points.
    #[serde(default = "default_max_visits")]
    pub max_visits: u64,
    /// How many instructions the guest may run.
    #[serde(default = "default_budget")]
    pub budget: u64,
    /// Functions with calls that never return.
    #[serde(default)]
    pub never_resumes: Vec<String>,
    /// Whether the run ends inside a handler, as after a stack overflow.
    #[serde(default)]
    pub ends_in_handler: bool,
    /// Functions that a trace may leave out.
    #[serde(default)]
    pub omissible: Vec<String>,
    /// The open claims that this scenario decides.
    #[serde(default)]
    pub claims: Vec<String>,
    /// The return hook (`"fgraph"`, `"rethook"`, ...), if there is one: the scenario then belongs to the atlas.
    #[serde(default)]
    pub return_hook: Option<String>,
    /// The CPUs for which the scenario can exist; empty: all.
    #[serde(default)]
    pub only: Vec<String>,
    /// If set, the run must be void, for a reason that contains this text. For guests that are broken on purpose.
    #[serde(default)]
    pub void: Option<String>,
    /// Stack placements and builds; empty: one variant without a name.
    #[serde(default)]
    pub variant: Vec<Variant>,
    /// Functions that are not called as the ABI says.
    #[serde(default)]
    pub convention: Vec<Convention>,
    /// What each subject must achieve.
    #[serde(default)]
    pub must: BTreeMap<String, Level>,
    /// Functions whose unwind rows are wrong (`unwind-harness check`).
    #[serde(default)]
    pub wrong_rows: Vec<WrongRows>,
    /// Expected deviations, with reasons.
    #[serde(default, deserialize_with = "known::each")]
    pub known: Vec<Known>,
}

fn default_entry() -> String {
    "_start".to_owned()
}

fn default_interrupt() -> Vec<Interruption> {
    vec![Interruption::Probe]
}

const fn default_max_visits() -> u64 {
    4
}

const fn default_budget() -> u64 {
    1_000_000
}

/// Functions whose unwind rows are wrong in some build of the scenario's guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongRows {
    /// Their names.
    pub functions: Vec<String>,
    /// The reason.
    pub because: String,
}

/// How points are interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interruption {
    /// The walk starts from the live registers; nothing is disturbed.
    Probe,
    /// A maskable interrupt is taken at the point; the walks start in its handler.
    Irq,
    /// An interrupt that the usual mask does not stop.
    Nmi,
    /// A synchronous fault of the instruction.
    Fault,
    /// arm64: an SError (asynchronous system error), from which the handler returns.
    Serror,
    /// arm64: an SDEI event, which the firmware delivers to the kernel whatever is masked.
    Sdei,
    /// A breakpoint on the instruction.
    Debug,
    /// A second exception at every instruction of an interrupt's entry, handler and exit.
    Nested,
    /// As `preempt`, but each frame record is damaged in several ways, on a copy of the stack.
    Corrupt,
    /// An interrupt whose exit path schedules another task; the walk is of the task that is switched out.
    Preempt,
    /// The guest's own call of `schedule`; the walk is of the task that is switched out.
    Voluntary,
}

impl Interruption {
    /// The name in scenarios and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Irq => "irq",
            Self::Nmi => "nmi",
            Self::Fault => "fault",
            Self::Serror => "serror",
            Self::Sdei => "sdei",
            Self::Debug => "debug",
            Self::Nested => "nested",
            Self::Corrupt => "corrupt",
            Self::Preempt => "preempt",
            Self::Voluntary => "voluntary",
        }
    }

    /// The exception that is delivered at the points, if any.
    #[must_use]
    pub const fn exception(self) -> Option<Exception> {
        Some(match self {
            Self::Probe | Self::Voluntary => return None,
            Self::Irq | Self::Preempt | Self::Corrupt | Self::Nested => Exception::Irq,
            Self::Nmi => Exception::Nmi,
            Self::Fault => Exception::Fault,
            Self::Serror => Exception::SError,
            Self::Sdei => Exception::Sdei,
            Self::Debug => Exception::Debug,
        })
    }

    /// Whether the interrupt's exit path schedules another task.
    #[must_use]
    pub const fn preempts(self) -> bool {
        matches!(self, Self::Preempt | Self::Corrupt)
    }

    /// Whether the walks are of a task that is switched out, and not of the running one.
    #[must_use]
    pub const fn walks_task(self) -> bool {
        self.preempts() || matches!(self, Self::Voluntary)
    }

    /// Whether walks of the user stack can be requested at the points, to be made on the way back to user mode.
    #[must_use]
    pub const fn walks_user(self) -> bool {
        !self.walks_task() && !matches!(self, Self::Probe | Self::Nested)
    }
}

/// The CPU model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The emulator's default for the architecture.
    #[default]
    Plain,
    /// The model with every feature that the emulator has.
    Max,
}

/// The second exception of kind `nested`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Second {
    /// An NMI.
    Nmi,
    /// A fault.
    Fault,
    /// arm64: an SError.
    Serror,
    /// arm64: an SDEI event.
    Sdei,
    /// A breakpoint.
    Debug,
}

impl Second {
    /// The exception.
    #[must_use]
    pub const fn exception(self) -> Exception {
        match self {
            Self::Nmi => Exception::Nmi,
            Self::Fault => Exception::Fault,
            Self::Serror => Exception::SError,
            Self::Sdei => Exception::Sdei,
            Self::Debug => Exception::Debug,
        }
    }
}

/// One way to build or to place a scenario's guest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variant {
    /// Its name in reports; empty for the only one.
    pub name: String,
    /// A build to use instead of the scenario's.
    pub guest: Option<String>,
    /// The stacks, low to high; empty: by name.
    #[serde(default)]
    pub stacks: Vec<String>,
    /// The entry's SP modulo 32: 0 or 16.
    #[serde(default, alias = "cfa_mod32")]
    pub cfa_mod32: u64,
    /// The fix for a return hook's transient windows with which the guest was built (guests/KERNEL.md), if any.
    #[serde(default)]
    pub fix: Option<String>,
    /// Replaces the scenario's return hook: a case with rows of its own in the atlas.
    #[serde(default)]
    pub return_hook: Option<String>,
}

/// What a subject must achieve. Accepting a snapshot cannot relax it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Every verdict is `=`.
    Exact,
    /// No verdict is `!`. The default for subjects that a scenario does not name.
    Sound,
    /// No demand.
    Any,
    /// The subject does not exist on this CPU.
    Absent,
}

impl Level {
    /// Whether a verdict meets the demand.
    #[must_use]
    pub const fn allows(self, verdict: Verdict) -> bool {
        match self {
            Self::Exact => matches!(verdict, Verdict::Exact),
            Self::Sound => !matches!(verdict, Verdict::Unsound(_)),
            Self::Any | Self::Absent => true,
        }
    }
}

/// Instructions of one function: `leaf+0x0..leaf+0xc`, both included, or one `leaf+0x8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// The function.
    pub function: String,
    /// The first offset.
    pub first: u64,
    /// The last offset.
    pub last: u64,
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, first, last } = self;
        write!(formatter, "{function}+{first:#x}")?;
        if first == last { Ok(()) } else { write!(formatter, "..{function}+{last:#x}") }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((&text, &text));
        let (first, last) = (parse_place(first)?, parse_place(last)?);
        if first.0 != last.0 || first.1 > last.1 {
            return Err(format!("{text:?} must ascend within one function, as in leaf+0x0..leaf+0xc"));
        }
        Ok(Self { function: first.0, first: first.1, last: last.1 })
    }
}

/// Parses `symbol+0x8` or `symbol`.
pub(crate) fn parse_place(text: &str) -> Result<(String, u64), String> {
    let (symbol, offset) = text.split_once('+').unwrap_or((text, "0"));
    let parsed = match offset.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => offset.parse(),
    };
    match parsed {
        Ok(offset) if !symbol.is_empty() => Ok((symbol.to_owned(), offset)),
        _ => Err(format!("{text:?} is not a place; places look like leaf+0x8")),
    }
}

impl Scenario {
    /// Reads one TOML file; its folder is the CPU.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Scenario`] when it is malformed (with line and column) or contradicts
    /// itself.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let source =
            std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        Self::parse(path, &source)
    }

    /// Reads the text of a TOML file; `path` names the CPU and the scenario.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load`].
    pub fn parse(path: &Path, source: &str) -> Result<Self, Error> {
        let reject = |reason: String| Error::Scenario { path: path.to_path_buf(), reason };
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let cpu = cpu::by_name(&folder)
            .ok_or_else(|| reject(format!("its folder is {folder:?}, which is not a CPU ({})", cpu::names())))?;
        let text: Text = toml::from_str(source).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
        let scenario = Self {
            name: format!("{folder}/{}", path.file_stem().unwrap_or_default().to_string_lossy()),
            path: path.to_path_buf(),
            cpu,
            source: source.to_owned(),
            text,
        };
        scenario.check().map_err(reject)?;
        Ok(scenario)
    }

    /// Loads the guest of a variant.
    ///
    /// # Errors
    ///
    /// As [`Program::load`] and [`Scenario::declare`].
    pub fn program(&self, root: &Path, variant: &Variant) -> Result<Program, Error> {
        let program = Program::load(&self.guest_path(root, variant), self.cpu, &variant.stacks, variant.cfa_mod32)?;
        self.declare(program)
    }

    /// Adds what the scenario declares to the conventions of its guest.
    ///
    /// # Errors
    ///
    /// [`Error::Scenario`] when it does not fit the guest.
    pub fn declare(&self, mut program: Program) -> Result<Program, Error> {
        let reject = |reason: String| Error::Scenario { path: self.path.clone(), reason };
        for declared in &self.text.convention {
            let convention = declared.resolve(self.cpu).map_err(reject)?;
            let functions = declared.functions_of(&program.guest).map_err(reject)?;
            let added = program.conventions.calls.add(convention, functions);
            added.map_err(|twice| {
                let name = program.guest.symbols.function_at(twice).map_or("?", |function| &function.name);
                reject(format!("[[convention]]: two tables name {name}"))
            })?;
        }
        Ok(program)
    }

    /// Checks what the types cannot express.
    fn check(&self) -> Result<(), String> {
        let text = &self.text;
        if !text.only.is_empty() && !text.only.iter().any(|name| name == self.cpu.name) {
            return Err(format!("only = {:?} does not contain its own CPU", text.only));
        }
        if let Some(unknown) = text.only.iter().find(|name| cpu::by_name(name).is_none()) {
            return Err(format!("only names {unknown:?}, which is not a CPU ({})", cpu::names()));
        }
        for convention in &text.convention {
            convention.resolve(self.cpu)?;
        }
        if text.interrupt.is_empty() {
            return Err("interrupt is empty".to_owned());
        }
        if (1..text.interrupt.len()).any(|index| text.interrupt[..index].contains(&text.interrupt[index])) {
            return Err("interrupt names a kind twice".to_owned());
        }
        if text.max_visits == 0 || text.budget == 0 {
            return Err("max-visits and budget must be at least 1".to_owned());
        }
        for (index, variant) in text.variant.iter().enumerate() {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if !variant.name.chars().all(is_plain) {
                return Err(format!("variant {:?}: a name consists of letters, digits, - and _", variant.name));
            }
            if variant.name.is_empty() || text.variant[..index].iter().any(|other| other.name == variant.name) {
                return Err(format!("variant {:?}: names must be unique and not empty", variant.name));
            }
            if !matches!(variant.cfa_mod32, 0 | 16) {
                return Err(format!("variant {}: cfa-mod32 must be 0 or 16", variant.name));
            }
        }
        let is_variant = |name: &&String| text.variant.iter().any(|variant| variant.name == **name);
        if let Some(name) = text.known.iter().filter_map(|known| known.variant.as_ref()).find(|name| !is_variant(name))
        {
            return Err(format!("known: there is no variant {name:?}"));
        }
        Ok(())
    }

    /// The variants; a single one without a name if the file lists none.
    #[must_use]
    pub fn variants(&self) -> Vec<Variant> {
        if self.text.variant.is_empty() { vec![Variant::default()] } else { self.text.variant.clone() }
    }

    /// The return hook of a variant, if it has one.
    #[must_use]
    pub fn return_hook(&self, variant: &Variant) -> Option<ReturnHook> {
        let name = variant.return_hook.as_ref().or(self.text.return_hook.as_ref())?.clone();
        Some(ReturnHook { name, build: variant.fix.as_deref().unwrap_or(PLAIN).to_owned() })
    }

    /// Whether the run must be void for this reason.
    #[must_use]
    pub fn means_void(&self, reason: &str) -> bool {
        self.text.void.as_ref().is_some_and(|expected| reason.contains(expected))
    }

    /// The file of a variant's guest.
    #[must_use]
    pub fn guest_path(&self, root: &Path, variant: &Variant) -> PathBuf {
        let name = variant.guest.as_ref().unwrap_or(&self.text.guest);
        root.join("guests").join(self.cpu.name).join(format!("{name}.elf"))
    }
}

/// All scenarios below `root`, by CPU in the order of [`cpu::ALL`] and then by name.
///
/// # Errors
///
/// [`Error::Usage`] when there is no folder `scenarios`, else as [`Scenario::load`].
pub fn load_all(root: &Path) -> Result<Vec<Scenario>, Error> {
    let folder = root.join("scenarios");
    if !folder.is_dir() {
        let advice = "run this in the repository, or name it with --root";
        return Err(Error::Usage(format!("{}: no folder `scenarios`; {advice}", root.display())));
    }
    let mut scenarios = Vec::new();
    for cpu in cpu::ALL {
        let folder = folder.join(cpu.name);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        for path in paths {
            scenarios.push(Scenario::load(&path)?);
        }
    }
    Ok(scenarios)
}

//! Scenarios: which guest, which points, and what each subject must achieve. One TOML file each.

mod case;
mod convention;
mod demand;
mod elf;
mod extent;
mod files;
mod interruption;
mod known;
mod linux;
mod listed;
mod origin;
mod part;
mod process;
mod process_text;
mod range;
mod variants;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cpu::{self, Cpu, Exception};
use crate::guest::Program;
use crate::subject::{Gate, Start, label};
use crate::user::ElfCall;
use crate::{Error, file};

pub use convention::{Convention, Outlined};
pub use demand::{Demand, Floor, Level, is_share};
pub use elf::elf_call;
pub use extent::{Extent, Span};
pub use files::load_all;
pub use interruption::Interruption;
pub use known::Known;
pub use linux::{Defect, LinuxCall, image_call, image_entry, image_scenarios};
pub use listed::{UnjudgedRows, WrongRows};
pub use origin::{Learned, Origin};
pub use part::Part;
pub use process::{Traced, process};
pub use process_text::{Asked, ProcessText};
pub use range::Range;
pub(crate) use range::parse_place;

/// A scenario: the content of its TOML file, and its name.
#[derive(Clone)]
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
    /// What is run, where the text alone does not say it.
    pub origin: Origin,
    /// What earlier loads of it have shown.
    pub learned: Learned,
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
    /// The guest's file stem in `guests/<cpu>/`. Variants may name another build. Empty where a kernel image is the guest.
    #[serde(default, deserialize_with = "word::stem")]
    pub guest: String,
    /// For kernel images: what is called.
    #[serde(default)]
    pub linux: Option<LinuxCall>,
    /// For other people's files: what is called.
    #[serde(default)]
    pub elf: Option<ElfCall>,
    /// For other people's programs: what runs as a process.
    #[serde(default)]
    pub process: Option<ProcessText>,
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
    #[serde(default, deserialize_with = "word::return_hook")]
    pub return_hook: Option<String>,
    /// How many bytes below SP belong to the running function. By default those of the ABI in a guest without a kernel, and
    /// none in one with a kernel, which an interrupt may enter on the same stack.
    #[serde(default)]
    pub red_zone: Option<u64>,
    /// The CPUs for which the scenario can exist; empty: all.
    #[serde(default)]
    pub only: Vec<String>,
    /// If set, the run must be void, for a reason that contains this text. For guests that are broken on purpose.
    #[serde(default)]
    pub void: Option<String>,
    /// Stack placements and builds; empty: one variant without a name.
    #[serde(default)]
    pub variant: Vec<Variant>,
    /// Stacks of fibers, each of which has activations of its own.
    #[serde(default)]
    pub fibers: Vec<String>,
    /// Functions that are not called as the ABI says.
    #[serde(default)]
    pub convention: Vec<Convention>,
    /// What each subject must achieve.
    #[serde(default)]
    pub must: BTreeMap<String, Demand>,
    /// Functions whose unwind rows are wrong (`unwind-harness check`).
    #[serde(default)]
    pub wrong_rows: Vec<WrongRows>,
    /// Functions whose unwind rows cannot be judged (`unwind-harness check`).
    #[serde(default)]
    pub unjudged: Vec<UnjudgedRows>,
    /// Tables (`"dwarf"`, `"sframe"`, `"orc"`) that must have rows for every function that runs.
    #[serde(default)]
    pub must_have_rows: Vec<String>,
    /// Tables of other people's files whose rows must be right; those of guests always must.
    #[serde(default)]
    pub must_be_right: Vec<String>,
    /// Expected deviations, with reasons.
    #[serde(default, deserialize_with = "known::each")]
    pub known: Vec<Known>,
}

impl Text {
    /// How many bytes below SP belong to the running function of this guest.
    #[must_use]
    pub fn red_zone(&self, program: &Program) -> u64 {
        let of_abi = if program.conventions.kernel.is_some() { 0 } else { program.guest.cpu.red_zone };
        self.red_zone.unwrap_or(of_abi)
    }

    /// The demand on a subject from one start: that on the two if there is one, else that on the subject.
    fn demand(&self, subject: &str, start: Start) -> Option<&Demand> {
        self.must.get(&label(subject, start)).or_else(|| self.must.get(subject))
    }

    /// Whether it runs somebody else's file: what is wrong there is a finding, for which nobody can give a reason here.
    #[must_use]
    pub const fn is_of_others(&self) -> bool {
        self.elf.is_some() || self.process.is_some()
    }

    /// Whether functions that did not run are left out of reports: of somebody's library, most do not.
    #[must_use]
    pub fn only_run(&self) -> bool {
        self.elf.as_ref().is_some_and(|call| !call.all_functions)
            || self.process.as_ref().is_some_and(|process| !process.all_functions)
    }

    /// The level that a subject must achieve from one start; that of its own gate if the scenario does not say.
    #[must_use]
    pub fn level(&self, subject: &str, start: Start, gate: Gate) -> Level {
        // Nobody can demand anything of what others have released: what is wrong there is reported.
        let is_free = self.linux.is_some() || self.is_of_others() || gate == Gate::Any;
        let default = if is_free { Level::Any } else { Level::Sound };
        self.demand(subject, start).map_or(default, |demand| demand.level)
    }

    /// How many percent of a subject's walks from one start must be exact in each section of a variant, if the scenario says so.
    #[must_use]
    pub fn floor(&self, subject: &str, start: Start, variant: Option<&str>) -> Option<u64> {
        self.demand(subject, start)?.exact.as_ref()?.of(variant)
    }
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

/// The largest budget. A tight loop of so many instructions takes a minute, and code whose every point is judged much longer; whoever
/// runs a folder of scenarios must see it end.
pub const MAX_BUDGET: u64 = 1_000_000_000;

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
    #[serde(default, deserialize_with = "word::another_stem")]
    pub guest: Option<String>,
    /// The stacks, low to high; empty: by name.
    #[serde(default)]
    pub stacks: Vec<String>,
    /// If set, the run must be void, for a reason that contains this text.
    pub void: Option<String>,
    /// The entry's SP modulo 32: 0 or 16.
    #[serde(default, alias = "cfa_mod32")]
    pub cfa_mod32: u64,
    /// The fix for a return hook's transient windows with which the guest was built (guests/KERNEL.md), if any.
    #[serde(default, deserialize_with = "word::fix")]
    pub fix: Option<String>,
    /// Replaces the scenario's return hook: a case with rows of its own in the atlas.
    #[serde(default, deserialize_with = "word::return_hook")]
    pub return_hook: Option<String>,
    /// What must hold of a kernel, in words, for the build to be one, where not every kernel is built so: a condition on its
    /// layout, say. Its verdicts are no kernel's in general, and have rows of their own in the atlas.
    #[serde(default, deserialize_with = "word::condition")]
    pub condition: Option<String>,
}

impl Scenario {
    /// Reads one TOML file; its folder is the CPU.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Scenario`] when it is malformed (with line and column) or contradicts
    /// itself.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let source = file::read_text(path)?;
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
            origin: Origin::Text,
            learned: Learned::default(),
        };
        scenario.check().map_err(reject)?;
        Ok(scenario)
    }

    /// Loads the guest of a variant.
    ///
    /// # Errors
    ///
    /// [`Error::OfScenario`], when the guest lies outside of `root`, [`Error::Scenario`], when it lacks what a `[[known]]` names,
    /// and as [`Program::load`] and [`Scenario::declare`].
    pub fn program(&self, root: &Path, variant: &Variant) -> Result<Program, Error> {
        if let Some(case) = self.case() {
            let program = self.declare(case.program()?)?;
            return if self.text.is_of_others() { self.with_private_conventions(program) } else { Ok(program) };
        }
        if let Some(state) = self.state() {
            return self.with_private_conventions(self.declare(state.program()?)?);
        }
        if self.text.process.is_some() {
            let traced = self.clone().traced(root)?;
            let program = traced.process().ok_or_else(|| self.untraced())?.program()?;
            return traced.with_private_conventions(program);
        }
        if let (Some(image), Some(call)) = (self.image(), &self.text.linux) {
            return self.declare(self.image_program(image, call)?);
        }
        if let Some(call) = &self.text.elf {
            return self.with_private_conventions(self.declare(self.elf_program(root, call)?)?);
        }
        let path = self.guest_path(root, variant);
        let program = file::require_inside(root, &path)
            .and_then(|()| Program::load(&path, self.cpu, &variant.stacks, variant.cfa_mod32, &self.learned.listings))
            .map_err(|error| self.blame(variant, error))?;
        self.require_known(&program, variant)?;
        self.declare(program)
    }

    /// Says of an error that a variant's guest has caused which file and key name the guest.
    #[must_use]
    pub fn blame(&self, variant: &Variant, error: Error) -> Error {
        if matches!(error, Error::OfScenario { .. } | Error::Case { .. } | Error::Interrupted | Error::Internal(_))
            || self.process().is_some()
        {
            return error;
        }
        if self.case().is_some() || self.state().is_some() {
            return self.blame_key("page", error);
        }
        if let Some(call) = &self.text.elf {
            return self.blame_key(&format!("call = {:?}", call.call), error);
        }
        let guest = variant.guest.as_ref().unwrap_or(&self.text.guest);
        let of = if variant.name.is_empty() { String::new() } else { format!("variant {}: ", variant.name) };
        self.blame_key(&format!("{of}guest = {guest:?}"), error)
    }

    /// Says of an error which of the file's keys has caused it.
    #[must_use]
    pub fn blame_key(&self, key: &str, error: Error) -> Error {
        Error::OfScenario { path: self.path.clone(), key: key.to_owned(), source: Box::new(error) }
    }

    /// Requires that every name of a function is that of one in the guest.
    ///
    /// # Errors
    ///
    /// [`Error::OfScenario`].
    pub fn require_functions(&self, program: &Program) -> Result<(), Error> {
        let text = &self.text;
        let entry = std::slice::from_ref(&text.entry);
        let keys: [(&str, &[String]); 5] = [
            ("entry =", entry),
            ("within:", &text.within),
            ("outer:", &text.outer),
            ("omissible:", &text.omissible),
            ("never-resumes:", &text.never_resumes),
        ];
        for (key, names) in keys {
            // An image starts where its thread does.
            for name in names.iter().filter(|_| key != "entry =" || program.start.is_none()) {
                program.guest.function(name).map_err(|error| self.blame_key(&format!("{key} {name:?}"), error))?;
            }
        }
        Ok(())
    }

    /// Checks what the types cannot express.
    fn check(&self) -> Result<(), String> {
        let text = &self.text;
        if let Some(unknown) = text.only.iter().find(|name| cpu::by_name(name).is_none()) {
            return Err(format!("only names {unknown:?}, which is not a CPU ({})", cpu::names()));
        }
        for convention in &text.convention {
            convention.resolve(self.cpu)?;
        }
        if !text.only.is_empty() && !text.only.iter().any(|name| name == self.cpu.name) {
            return Err(format!("only = {:?} does not contain its own CPU", text.only));
        }
        let kinds = [!text.guest.is_empty(), text.linux.is_some(), text.elf.is_some(), text.process.is_some()];
        if kinds.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err(
                "it needs one of guest = \"NAME\", a table [elf] or [process] or, in scenarios/linux, a table [linux]"
                    .to_owned(),
            );
        }
        for (table, is_there) in [("elf", text.elf.is_some()), ("process", text.process.is_some())] {
            if is_there && (!text.variant.is_empty() || text.interrupt != [Interruption::Probe]) {
                return Err(format!("a table [{table}] takes no variants, and no kind of interruption but probe"));
            }
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
        if text.budget > MAX_BUDGET {
            return Err(format!("budget = {}: a run may start at most {MAX_BUDGET} instructions", text.budget));
        }
        self.check_variants()
    }

    fn check_variants(&self) -> Result<(), String> {
        let text = &self.text;
        let mut names = BTreeSet::new();
        for variant in &text.variant {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if !variant.name.chars().all(is_plain) {
                return Err(format!("variant {:?}: a name consists of letters, digits, - and _", variant.name));
            }
            if variant.name.is_empty() || !names.insert(&variant.name) {
                return Err(format!("variant {:?}: names must be unique and not empty", variant.name));
            }
            if !matches!(variant.cfa_mod32, 0 | 16) {
                return Err(format!("variant {}: cfa-mod32 must be 0 or 16", variant.name));
            }
            if let Some(fix) = &variant.fix
                && self.return_hook(variant).is_none()
            {
                return Err(format!("variant {}: fix = {fix:?}, but there is no return-hook to fix", variant.name));
            }
        }
        let named = text.known.iter().filter_map(|known| known.variant.as_ref());
        if let Some(name) = { named }.find(|name| !names.contains(name)) {
            return Err(format!("known: there is no variant {name:?}; there are {names:?}"));
        }
        for (subject, demand) in &text.must {
            let named = demand.exact.iter().flat_map(Floor::variants);
            if let Some(name) = { named }.find(|name| !names.contains(name)) {
                return Err(format!("must: {subject}: exact: there is no variant {name:?}; there are {names:?}"));
            }
        }
        Ok(())
    }
}

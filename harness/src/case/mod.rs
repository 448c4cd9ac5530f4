//! Frozen cases: one run of one scenario as a single file of text, which is run again without the guest's file (docs/case.md).
//!
//! A case holds the pages that the run used, as they were before it, and everything else that a run takes from a guest. It holds the
//! walks too, so that a replay is held against the kernel and not only against itself.
//!
//! Cases are input: what is malformed is an error that names the key, and nothing is allocated beyond [`MAX_PAGES`] and
//! [`MAX_MAPPED`].

mod bytes;
mod conventions;
mod freeze;
mod hex;
mod image;
mod memory;
mod sections;
mod state;
mod symbols;
mod walks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cpu::{self, Cpu};
use crate::guest::conventions::StackRole;
use crate::guest::layout::Stack;
use crate::guest::{Guest, Layout, Program, StartState};
use crate::{Error, file};

use conventions::Means;
pub use freeze::Frozen;
use hex::{Hex, Span};
use memory::{Mapped, Pages};
pub use state::{Captured, CapturedPage, CaseFile, Source, State};
pub use walks::{Row, Walks};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// How many pages of 4 KiB a case may hold: a hundred times what a traced run on x86-64 uses.
pub const MAX_PAGES: u64 = 1 << 14;

/// How many bytes a case may say are mapped, whether it holds them or not: several kernel images.
pub const MAX_MAPPED: u64 = 1 << 28;

/// A frozen run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// Where it was read from; empty for one that has not been written.
    #[serde(skip)]
    pub path: PathBuf,
    /// [`FORMAT`].
    format: u32,
    /// The CPU.
    arch: String,
    /// Whose memory it is.
    memory: Owner,
    /// The scenario: `<cpu>/<name>`, or `<cpu>/linux/<name>` for an image.
    pub scenario: String,
    /// The variant, or an image's release; empty for the only one.
    #[serde(default)]
    pub variant: String,
    /// The kinds of interruption, by name.
    pub interrupt: Vec<String>,
    /// The unwinders that walked. Others may need pages that are not here.
    pub unwinders: Vec<String>,
    /// Where the run ends, before that instruction.
    stop: Hex,
    /// SP at the start.
    sp: Hex,
    /// Whether the pages between stacks are guard pages.
    #[serde(default)]
    guards: bool,
    /// The scenario's TOML.
    pub text: String,
    /// What the registers for floating-point arguments hold, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    float_arguments: Vec<Hex>,
    /// Offsets and sizes in bytes by their names in the kernel, on which start and conventions rest. For readers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    offsets: BTreeMap<String, u64>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How the run begins, if not at the scenario's entry with planted values in all registers.
    #[serde(default)]
    start: Option<Start>,
    /// What the harness must know of the guest.
    conventions: Means,
    /// The stacks.
    #[serde(default)]
    stack: Vec<Placed>,
    /// What is mapped.
    mapped: Vec<Mapped>,
    /// The unwind data of a guest's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    section: Vec<sections::Section>,
    /// The symbols of the pages, one on a line.
    symbols: Vec<String>,
    /// The walks, for each kind of interruption.
    #[serde(default)]
    pub walks: Vec<Walks>,
    /// The pages.
    page: Vec<Pages>,
}

/// Whose memory a case holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Owner {
    #[default]
    User,
    Kernel,
}

/// Where a case comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provenance {
    /// The command that froze it.
    pub command: String,
    /// The version of this program.
    pub tool: String,
    /// The guest's name: an image's release, or the stem of a guest's file.
    pub guest: String,
    /// SHA-256 of the guest's file: of an image as it lies on a disk.
    pub sha256: String,
    /// The package that the image came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_sha256: Option<String>,
    /// The source package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// An image's `linux_banner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    /// An image's GNU build id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The licence of the code and data in the pages.
    pub licence: String,
}

/// [`StartState`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Start {
    pc: Hex,
    task: Hex,
    /// The thread pointer of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<Hex>,
    registers: BTreeMap<String, Hex>,
    /// Registers that keep their values while the task runs in the kernel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    constant: BTreeMap<String, Hex>,
}

/// A stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Placed {
    name: String,
    role: StackRole,
    bounds: Span,
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Case`] when it is malformed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &file::read_text(path)?)
    }

    /// Reads the text of a case; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Case`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let reject = |reason: String| Error::Case { path: path.to_path_buf(), reason };
        let format = toml::from_str::<Version>(text).ok().map(|version| version.format);
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Err(reject(format!("format = {format}: this program reads format {FORMAT}")));
        }
        let case: Self = toml::from_str(text).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
        let case = Self { path: path.to_path_buf(), ..case };
        case.cpu()?;
        // So that nothing is wrong with it later.
        case.program()?;
        for walks in &case.walks {
            walks.rows().map_err(|reason| reject(format!("walks: {reason}")))?;
        }
        Ok(case)
    }

    /// The text of the file.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn to_text(&self) -> Result<String, Error> {
        let text = toml::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(format!("{}{text}", HEAD))
    }

    /// The CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Case`] if there is no such CPU, or it is not the scenario's.
    pub fn cpu(&self) -> Result<&'static Cpu, Error> {
        let cpu = cpu::by_name(&self.arch);
        let cpu =
            cpu.ok_or_else(|| self.reject(format!("arch = {:?}: no such CPU; there are {}", self.arch, cpu::names())))?;
        if self.scenario.split('/').next() == Some(cpu.name) {
            return Ok(cpu);
        }
        Err(self.reject(format!("scenario = {:?}: it is not one of {}", self.scenario, cpu.name)))
    }

    /// The error that something is wrong with this case.
    #[must_use]
    pub fn reject(&self, reason: String) -> Error {
        Error::Case { path: self.path.clone(), reason }
    }

    /// The guest with its conventions, in the state before the run.
    ///
    /// # Errors
    ///
    /// [`Error::Case`] when the case is malformed.
    pub fn program(&self) -> Result<Program, Error> {
        let cpu = self.cpu()?;
        let (segments, held) = memory::load(&self.mapped, &self.page).map_err(|reason| self.reject(reason))?;
        let symbols = symbols::read(&self.symbols).map_err(|reason| self.reject(format!("symbols: {reason}")))?;
        let conventions = self.conventions.conventions(cpu, self.stop.0);
        let conventions = conventions.map_err(|reason| self.reject(format!("conventions.{reason}")))?;
        if conventions.kernel.is_some() != (self.memory == Owner::Kernel) {
            return Err(
                self.reject("memory: it is \"kernel\" just if there is a table [conventions.kernel]".to_owned())
            );
        }
        let stacks = self.stacks(&segments)?;
        let layout = Layout { has_guards: self.guards, ..Layout::fixed(stacks, self.sp.0) };
        let guest = Guest {
            name: self.provenance.guest.clone(),
            path: self.path.clone(),
            hash: self.provenance.sha256.clone(),
            cpu,
            segments,
            symbols,
            unwind: sections::unpack(&self.section).map_err(|reason| self.reject(format!("section: {reason}")))?,
        };
        let start = self.start.as_ref().map(|start| self.start_state(cpu, start)).transpose()?;
        let offsets = self.offsets.clone();
        let float_arguments = self.float_arguments.iter().map(|bits| bits.0).collect();
        let program = Program::frozen(guest, conventions, layout, held);
        let program = program.map_err(|error| self.reject(format!("section: {error}")))?;
        Ok(Program { start, offsets, float_arguments, ..program })
    }

    fn stacks(&self, segments: &[crate::guest::Segment]) -> Result<Vec<Stack>, Error> {
        let mut stacks = Vec::new();
        for Placed { name, role, bounds } in &self.stack {
            let (low, high) = (bounds.0.start, bounds.0.end);
            if low % 8 != 0 || high % 8 != 0 || low == high {
                return Err(self.reject(format!("stack {name:?}: bounds = {bounds:?} are not whole words")));
            }
            if !segments.iter().any(|segment| segment.writable && segment.address <= low && high <= segment.end()) {
                return Err(self.reject(format!("stack {name:?}: bounds = {bounds:?} are not mapped writable")));
            }
            let bounds = kunwind::StackBounds { low, high };
            stacks.push(Stack { name: name.clone(), bounds, role: *role });
        }
        stacks.sort_by_key(|stack| stack.bounds.low);
        match stacks.windows(2).find(|pair| pair[0].bounds.high > pair[1].bounds.low) {
            None => Ok(stacks),
            Some(pair) => Err(self.reject(format!("stacks {:?} and {:?} overlap", pair[0].name, pair[1].name))),
        }
    }

    fn start_state(&self, cpu: &Cpu, start: &Start) -> Result<StartState, Error> {
        let registers = |key: &str, named: &BTreeMap<String, Hex>| {
            let numbered = conventions::numbered(cpu, named);
            numbered.map_err(|reason| self.reject(format!("start.{key}: {reason}")))
        };
        let (constant, registers) =
            (registers("constant", &start.constant)?, registers("registers", &start.registers)?);
        let thread = start.thread.map(|thread| thread.0);
        Ok(StartState { pc: start.pc.0, registers, constant, task: start.task.0, thread })
    }
}

/// The one key that is read first.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The first lines of a file.
const HEAD: &str = "\
# A run of unwind-harness, frozen: `unwind-harness run --case FILE` runs it again, `unwind-harness explain --case FILE POINT` explains
# one point. The pages are code and data of the guest that [provenance] names, under the licence that stands there.
";

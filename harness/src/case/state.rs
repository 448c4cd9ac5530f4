//! A state that somebody wrote down: memory from an ELF file or pages, registers, stacks, and who waits there. It is the small
//! form of a case: what a debugger or a crash dump can give, without a scenario (docs/case.md).

mod capture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hex::Hex;
use super::image::Image;
use super::{Case, MAX_PAGES, Owner, bytes, conventions, sections};
use crate::cpu::{self, Cpu, Register};
use crate::guest::conventions::StackRole;
use crate::guest::layout::Stack;
use crate::guest::{
    Answer, Conventions, Guest, Layout, Midway, PAGE, Program, StartState, Symbol, Symbols, UnwindSections,
    WaitingAtStart,
};
use crate::user::Module;
use crate::{Error, file};

pub use capture::{Captured, CapturedPage, Source};

/// The most bytes of a guest's memory that one `[[page]]` may hold.
const MAX_DATA: u64 = MAX_PAGES * PAGE;

/// A state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct State {
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// An ELF file, loaded where it was linked; relative to the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elf: Option<PathBuf>,
    /// What is added to the addresses in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bias: Option<Hex>,
    /// The CPU.
    arch: String,
    /// The first instruction; `None`: the register pc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    /// Where the run ends, before that instruction; `None`: where the oldest activation resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    /// The unwinders that walk; none: all that can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwinders: Vec<String>,
    /// Whose memory it is.
    #[serde(default)]
    memory: Owner,
    /// The CPU model: `"max"` has every feature that the emulator has (arm64: pointer authentication).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Registers by their names in Unicorn's enums.
    #[serde(default)]
    registers: BTreeMap<String, Number>,
    #[serde(default)]
    stack: Vec<Bounds>,
    /// Innermost first.
    #[serde(default)]
    activation: Vec<Waits>,
    /// What the kernel answered to each system call, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    syscall: Vec<Answered>,
    /// Unwind data, besides those of the ELF file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    section: Vec<sections::Section>,
    #[serde(default)]
    symbol: Vec<Named>,
    #[serde(default)]
    page: Vec<Page>,
    /// For readers.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    provenance: toml::Table,
}

/// The bounds of a stack.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    low: Number,
    high: Number,
}

/// A function that waits for a call to return.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waits {
    r#return: Number,
    cfa: Number,
    #[serde(default)]
    saved: Vec<Number>,
}

/// What a kernel answered to a system call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    result: Number,
    /// The memory that it wrote.
    #[serde(default, alias = "memory", skip_serializing_if = "Vec::is_empty")]
    write: Vec<Written>,
}

/// Memory that a kernel wrote.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: Number,
    /// Base64 of zstd.
    data: String,
}

/// Memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    address: Number,
    /// Base64 of zstd.
    data: String,
    /// `r`, `w` and `x`; by default all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flags: Option<String>,
}

/// A symbol.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    address: Number,
    #[serde(default)]
    size: Number,
}

/// A word, as text (`"0x10"`, `"16"`) or as a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TextOrNumber", into = "String")]
struct Number(u128);

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(i64),
    Text(String),
}

impl TryFrom<TextOrNumber> for Number {
    type Error = String;

    fn try_from(from: TextOrNumber) -> Result<Self, String> {
        let text = match from {
            TextOrNumber::Number(number) => return Ok(Self(u128::from(number.cast_unsigned()))),
            TextOrNumber::Text(text) => text,
        };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')),
            None => text.parse::<u128>().ok().or_else(|| text.parse::<i64>().ok().map(|it| it.cast_unsigned().into())),
        };
        number.map(Self).ok_or_else(|| format!("{text:?} is no number, like \"0xffff800080010000\""))
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        format!("{:#x}", number.0)
    }
}

impl Number {
    fn word(self, key: &str) -> Result<u64, String> {
        u64::try_from(self.0).map_err(|_| format!("{key}: {:#x} has more than 64 bits", self.0))
    }
}

/// The general registers of a state: pc, and the others by number; and the named ones.
struct Given {
    pc: Option<u64>,
    general: Vec<(Register, u64)>,
    named: Vec<(String, u128)>,
}

impl State {
    /// Whether a text is a state, and no frozen run: a state has no `format`.
    pub(super) fn is_one(text: &str) -> bool {
        toml::from_str::<toml::Table>(text).is_ok_and(|table| !table.contains_key("format"))
    }

    /// Reads the text of a state; `path` is for messages, and where its `elf` is looked for. What it says of memory is checked by
    /// [`State::program`].
    ///
    /// # Errors
    ///
    /// [`Error::Case`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let reject = |reason: String| Error::Case { path: path.to_path_buf(), reason };
        let state: Self = toml::from_str(text).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
        Ok(Self { path: path.to_path_buf(), ..state })
    }

    /// Whether it is a kernel's: its code has no red zone below SP, because an interrupt may use the same stack.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.memory == Owner::Kernel
    }

    /// The error that something is wrong with this case.
    #[must_use]
    pub fn reject(&self, reason: String) -> Error {
        Error::Case { path: self.path.clone(), reason }
    }

    /// The CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Case`] if there is no such CPU.
    pub fn cpu(&self) -> Result<&'static Cpu, Error> {
        let unknown = || self.reject(format!("arch = {:?}: no such CPU; there are {}", self.arch, cpu::names()));
        cpu::by_name(&self.arch).ok_or_else(unknown)
    }

    /// The guest in this state.
    ///
    /// # Errors
    ///
    /// [`Error::Case`] when the state is malformed, and as [`Module::load`].
    pub fn program(&self) -> Result<Program, Error> {
        let cpu = self.cpu()?;
        let module = self.module(cpu)?;
        self.build(cpu, module).map_err(|reason| self.reject(reason))
    }

    fn module(&self, cpu: &Cpu) -> Result<Option<Module>, Error> {
        let Some(elf) = &self.elf else { return Ok(None) };
        let path = self.path.parent().unwrap_or(Path::new("")).join(elf);
        let mut module = Module::parse(&path, &file::read(&path, file::MAX_BINARY)?)?;
        if module.cpu.name != cpu.name {
            return Err(self.reject(format!("elf = {elf:?}: it is for {}, not for {}", module.cpu.name, cpu.name)));
        }
        if let Some(bias) = self.bias {
            module.shift(bias.0)?;
        }
        Ok(Some(module))
    }

    fn build(&self, cpu: &'static Cpu, module: Option<Module>) -> Result<Program, String> {
        let given = self.given(cpu)?;
        let sp = given.general.iter().find(|(register, _)| *register == cpu.sp).map(|(_, value)| *value);
        let mut image = Image::default();
        let (mut symbols, mut unwind, mut hash) = (Vec::new(), UnwindSections::default(), String::new());
        if let Some(module) = module {
            module.segments.into_iter().try_for_each(|segment| image.load(segment))?;
            (symbols, unwind, hash) = (module.symbols, module.unwind, module.hash);
        }
        unwind.add(sections::unpack(&self.section).map_err(|reason| format!("section: {reason}"))?);
        let stacks = self.stacks(sp, &mut image)?;
        for page in &self.page {
            page.put(&mut image).map_err(|reason| format!("page: {reason}"))?;
        }
        for symbol in &self.symbol {
            symbols.push(symbol.symbol().map_err(|reason| format!("symbol {:?}: {reason}", symbol.name))?);
        }
        let sp = sp.or_else(|| stacks.first().map(|stack| stack.bounds.high));
        let sp = sp.ok_or("registers: there is no SP, and no [[stack]]")?;
        let symbols = Symbols::new(symbols);
        let waiting = self.waiting(cpu)?;
        let spot =
            |key: &str, text: &String| spot(text, &symbols).map_err(|reason| format!("{key} = {text:?}: {reason}"));
        let start = self.start.as_ref().map(|text| spot("start", text)).transpose()?.or(given.pc);
        let start = start.ok_or("start: there is neither this key nor a register pc")?;
        let stop = self.stop.as_ref().map(|text| spot("stop", text)).transpose()?;
        let stop = stop.or_else(|| waiting.last().map(|oldest| oldest.resume));
        let stop = stop.ok_or("stop: there is neither this key nor an [[activation]] to which the run could return")?;
        if start == stop {
            return Err(format!("stop: the run would end where it starts, at {start:#x}"));
        }
        let answers = self.answers(&image)?;
        // The emulator fetches around the place where it will end, which the state need not hold.
        for page in [stop & !(PAGE - 1), (stop & !(PAGE - 1)).wrapping_sub(PAGE)] {
            image.fill(page)?;
        }
        let (segments, held) = image.finish();
        let is_code = segments.iter().any(|it| it.executable && (it.address..it.end()).contains(&start));
        if !is_code {
            return Err(format!("start: there is no code at {start:#x}"));
        }
        let guest = Guest { name: self.name(), path: self.path.clone(), hash, cpu, segments, symbols, unwind };
        let conventions = Conventions {
            sentinel: Some(stop),
            // The run may end anywhere, so what waits may wait on.
            outermost: std::iter::once(0..u64::MAX).collect(),
            ..Conventions::default()
        };
        let program = Program::frozen(guest, conventions, Layout::fixed(stacks, sp), held);
        let program = program.map_err(|error| error.to_string())?;
        let registers = given.general;
        // TPIDR_EL0, tp or FS_BASE, if they are given, are set afterwards.
        let thread = (!self.is_kernel()).then_some(0);
        let start = StartState { pc: start, registers, constant: Vec::new(), task: 0, thread };
        Ok(Program { start: Some(start), midway: Some(Midway { registers: given.named, waiting, answers }), ..program })
    }

    /// The name of the guest: that of the case.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn given(&self, cpu: &Cpu) -> Result<Given, String> {
        let mut given = Given { pc: None, general: Vec::new(), named: Vec::new() };
        for (name, value) in &self.registers {
            let key = format!("registers.{name}");
            let lower = name.to_ascii_lowercase();
            if matches!(lower.as_str(), "pc" | "rip") {
                given.pc = Some(value.word(&key)?);
            } else if let Some(register) = general(cpu, &lower) {
                given.general.push((register, value.word(&key)?));
            } else {
                given.named.push((name.clone(), value.0));
            }
        }
        Ok(given)
    }

    /// The stacks, mapped; the one with SP is the first.
    fn stacks(&self, sp: Option<u64>, image: &mut Image) -> Result<Vec<Stack>, String> {
        let mut stacks: Vec<Stack> = Vec::new();
        for (index, bounds) in self.stack.iter().enumerate() {
            let (low, high) = (bounds.low.word("stack.low")?, bounds.high.word("stack.high")?);
            if low % 8 != 0 || high % 8 != 0 || low >= high || high - low > MAX_DATA {
                return Err(format!(
                    "stack: low = {low:#x}, high = {high:#x} are not the bounds of at most {MAX_DATA:#x} bytes"
                ));
            }
            image.stack(low, high)?;
            let is_first =
                sp.is_none_or(|sp| low <= sp && sp <= high) && stacks.iter().all(|it| it.role != StackRole::First);
            let role = if is_first { StackRole::First } else { StackRole::Kernel };
            stacks.push(Stack { name: format!("{index}"), bounds: kunwind::StackBounds { low, high }, role });
        }
        stacks.sort_by_key(|stack| stack.bounds.low);
        if let Some(pair) = stacks.windows(2).find(|pair| pair[0].bounds.high > pair[1].bounds.low) {
            return Err(format!("stack: those at {:#x} and {:#x} overlap", pair[0].bounds.low, pair[1].bounds.low));
        }
        match sp {
            Some(sp) if stacks.iter().all(|stack| stack.role != StackRole::First) => {
                Err(format!("stack: SP is {sp:#x}, which is on none of them"))
            }
            _ => Ok(stacks),
        }
    }

    fn answers(&self, image: &Image) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        for (index, Answered { result, write }) in self.syscall.iter().enumerate() {
            let of = |reason: String| format!("syscall {index}: {reason}");
            let mut writes = Vec::new();
            for Written { address, data } in write {
                let address = address.word("address").map_err(of)?;
                let bytes =
                    bytes::unpack_up_to(data, MAX_DATA as usize).map_err(|reason| of(format!("data: {reason}")))?;
                if !image.holds(address, bytes.len() as u64) {
                    return Err(of(format!(
                        "it writes {:#x} bytes at {address:#x}, which are not all mapped",
                        bytes.len()
                    )));
                }
                writes.push((address, bytes));
            }
            answers.push(Answer { result: result.word("result").map_err(of)?, writes });
        }
        Ok(answers)
    }

    fn waiting(&self, cpu: &Cpu) -> Result<Vec<WaitingAtStart>, String> {
        let mut waiting: Vec<WaitingAtStart> = Vec::new();
        for (index, Waits { r#return, cfa, saved }) in self.activation.iter().enumerate() {
            let of = |reason: String| format!("activation {index}: {reason}");
            if saved.len() > cpu.callee_saved.len() {
                let names: Vec<_> = cpu.callee_saved.iter().map(|it| cpu.abi.register_name(*it)).collect();
                return Err(of(format!("saved: there are more than the callee-saved registers, {}", names.join(", "))));
            }
            let saved: Result<Vec<u64>, String> = saved.iter().map(|value| value.word("saved")).collect();
            let (resume, cfa) = (r#return.word("return").map_err(of)?, cfa.word("cfa").map_err(of)?);
            if waiting.last().is_some_and(|younger| younger.cfa > cfa && self.stack.len() < 2) {
                return Err(of(format!("cfa: {cfa:#x} is below that of the one before; the innermost comes first")));
            }
            waiting.push(WaitingAtStart { resume, cfa, saved: saved.map_err(of)? });
        }
        Ok(waiting)
    }
}

impl Page {
    fn put(&self, image: &mut Image) -> Result<(), String> {
        let address = self.address.word("address")?;
        if address % PAGE != 0 {
            return Err(format!("address: {address:#x} is not the start of a page of {PAGE:#x} bytes"));
        }
        let data = bytes::unpack_up_to(&self.data, MAX_DATA as usize)
            .map_err(|reason| format!("{address:#x}: data: {reason}"))?;
        let flags = self.flags.as_deref().unwrap_or("rwx");
        if let Some(other) = flags.chars().find(|flag| !"rwx-".contains(*flag)) {
            return Err(format!("{address:#x}: flags = {flags:?}: {other:?} is none of r, w and x"));
        }
        // Without flags, what the ELF file or a stack says stands.
        let permission = self.flags.as_ref().map(|flags| (flags.contains('x'), flags.contains('w')));
        image.put(address, &data, permission)
    }
}

impl Named {
    fn symbol(&self) -> Result<Symbol, String> {
        let (address, size) = (self.address.word("address")?, self.size.word("size")?);
        if address.checked_add(size).is_none() {
            return Err("size: it wraps around the address space".to_owned());
        }
        let name = self.name.clone();
        Ok(Symbol { name, address, size, is_function: true, is_global: true, is_size_inferred: false })
    }
}

/// The general register of this name: as the ABI calls it, or by its number as in Unicorn's enums.
fn general(cpu: &Cpu, lower: &str) -> Option<Register> {
    let numbered = || {
        let number = lower.strip_prefix('x')?.parse::<u8>().ok()?;
        (cpu.abi.register_name(Register(0)) != "rax" && number < 32).then_some(Register(number))
    };
    let alias = match lower {
        "fp" => Some(cpu.abi.fp),
        "lr" => cpu.abi.ra,
        "sp" => Some(cpu.sp),
        _ => None,
    };
    conventions::register(cpu, lower).ok().or(alias).or_else(numbered)
}

/// An address: `"0x401000"`, `"function"` or `"function+0x10"`.
fn spot(text: &str, symbols: &Symbols) -> Result<u64, String> {
    if text.starts_with("0x") {
        return super::hex::number(text);
    }
    let (name, offset) = match text.split_once('+') {
        Some((name, offset)) => (name, super::hex::number(offset)?),
        None => (text, 0),
    };
    let address = symbols.address(name).ok_or("there is no such symbol")?;
    Ok(address.wrapping_add(offset))
}

/// A case of either form.
#[derive(Debug)]
pub enum CaseFile {
    /// A frozen run.
    Frozen(Box<Case>),
    /// A state.
    State(Box<State>),
}

impl CaseFile {
    /// Reads a case.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Case`] when it is malformed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = file::read_text(path)?;
        if State::is_one(&text) {
            State::parse(path, &text).map(Box::new).map(Self::State)
        } else {
            Case::parse(path, &text).map(Box::new).map(Self::Frozen)
        }
    }
}

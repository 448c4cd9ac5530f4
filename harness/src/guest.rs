//! An ELF file as a memory image with symbols. The only module of the harness that reads ELF for running.

use std::path::{Path, PathBuf};

use kunwind::CodeAddress;
use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};

use crate::Error;
use crate::arch::{self, Arch};

/// The granularity of permissions, in bytes.
pub const PAGE: u64 = 0x1000;

/// More than any guest needs; a corrupt size must not exhaust the machine.
const MAX_MEMORY: u64 = 64 << 20;

/// A loaded guest.
pub struct Guest {
    /// The file's stem.
    pub name: String,
    /// Where it came from.
    pub path: PathBuf,
    /// The CPU it runs on.
    pub arch: &'static dyn Arch,
    /// Its memory before the start, by address; page-aligned and disjoint.
    pub segments: Vec<Segment>,
    /// Its symbols.
    pub symbols: Symbols,
    /// Its unwind data, for unwinders. The oracle does not look at them.
    pub unwind: UnwindSections,
}

/// The sections of an ELF file that hold unwind data; absent, or empty, where there are none.
#[derive(Debug, Clone, Default)]
pub struct UnwindSections {
    /// `.sframe`.
    pub sframe: Option<Section>,
    /// `.debug_frame`.
    pub debug_frame: Option<Section>,
    /// `.eh_frame`.
    pub eh_frame: Option<Section>,
    /// `.orc_hints`: what hand-written code says of itself to ORC (guests/x86_64/include/orc.S).
    pub orc_hints: Option<Section>,
}

/// The bytes of a section, and where they are loaded.
#[derive(Debug, Clone)]
pub struct Section {
    /// The address of the first byte; 0 for a section that is not loaded.
    pub address: u64,
    /// The contents.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guest").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A range of pages with one permission.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The first address, a multiple of [`PAGE`].
    pub address: u64,
    /// The contents, a multiple of [`PAGE`] long.
    pub data: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
    /// Whether it may be written.
    pub writable: bool,
}

impl Segment {
    /// The address behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address + self.data.len() as u64
    }
}

impl Guest {
    /// Reads an ELF file for this CPU.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Elf`] when it is not a 64-bit little-endian executable for `arch`, is
    /// truncated, or asks for more memory than any guest needs.
    pub fn load(path: &Path, arch: &'static dyn Arch) -> Result<Self, Error> {
        let data = std::fs::read(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(name, path, &data, arch)
    }

    /// Like [`Guest::load`], of bytes that are in memory already; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Guest::load`].
    pub fn parse(name: String, path: &Path, data: &[u8], arch: &'static dyn Arch) -> Result<Self, Error> {
        let reject = |reason: String| Error::Elf { path: path.to_path_buf(), reason };
        let malformed = |error: object::Error| reject(error.to_string());
        let endian = LittleEndian;
        let header = FileHeader64::<LittleEndian>::parse(data).map_err(malformed)?;
        let machine = header.e_machine(endian).0;
        if machine != arch.elf_machine() {
            let is = arch::ALL.iter().find(|other| other.elf_machine() == machine);
            let is = is.map_or_else(|| format!("e_machine {machine}"), |other| other.name().to_owned());
            return Err(reject(format!("it is for {is}, but {} was asked for", arch.name())));
        }
        if header.e_type(endian) != elf::ET_EXEC {
            return Err(reject(format!(
                "e_type is {}, not ET_EXEC: link it to fixed addresses",
                header.e_type(endian).0
            )));
        }
        let mut segments = Vec::new();
        for segment in header.program_headers(endian, data).map_err(malformed)? {
            if segment.p_type(endian) != elf::PT_LOAD || segment.p_memsz(endian) == 0 {
                continue;
            }
            let address = segment.p_vaddr(endian);
            let bytes = segment.data(endian, data).map_err(|()| {
                reject(format!("the segment at {address:#x} reaches beyond the end of the file: truncated?"))
            })?;
            let flags = segment.p_flags(endian);
            let piece = Segment {
                address,
                data: bytes.to_vec(),
                executable: flags.contains(elf::PF_X),
                writable: flags.contains(elf::PF_W),
            };
            segments.push(whole_pages(piece, segment.p_memsz(endian)).map_err(reject)?);
        }
        segments.sort_by_key(|segment| segment.address);
        if segments.is_empty() {
            return Err(reject("it has nothing to load".to_owned()));
        }
        if let Some(pair) = segments.windows(2).find(|pair| pair[0].end() > pair[1].address) {
            return Err(reject(format!("two segments share the page at {:#x}", pair[1].address)));
        }
        let symbols = Symbols::new(symbols(header, data).map_err(reject)?);
        let unwind = unwind_sections(header, data).map_err(reject)?;
        Ok(Self { name, path: path.to_path_buf(), arch, segments, symbols, unwind })
    }

    /// The address of a symbol.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`], with `hint` saying what it is needed for.
    pub fn require(&self, symbol: &str, hint: &'static str) -> Result<u64, Error> {
        self.symbols.address(symbol).ok_or_else(|| Error::MissingSymbol {
            path: self.path.clone(),
            symbol: symbol.to_owned(),
            hint,
        })
    }

    /// The function of this name.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when there is none.
    pub fn function(&self, name: &str) -> Result<&Symbol, Error> {
        self.symbols.function_named(name).ok_or_else(|| Error::MissingSymbol {
            path: self.path.clone(),
            symbol: name.to_owned(),
            hint: "it must name a function of the guest",
        })
    }

    /// The bytes of the image from `address` to the end of its segment; empty outside.
    #[must_use]
    pub fn bytes_at(&self, address: u64) -> &[u8] {
        self.segments
            .iter()
            .find(|segment| (segment.address..segment.end()).contains(&address))
            .map_or(&[], |segment| &segment.data[(address - segment.address) as usize..])
    }

    /// The executable ranges.
    pub fn text(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        self.segments.iter().filter(|segment| segment.executable).map(|segment| segment.address..segment.end())
    }
}

/// The defined symbols of an ELF file that name a place in memory.
fn symbols(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<Vec<Symbol>, String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(|error| error.to_string())?;
    let mut symbols = Vec::new();
    for symbol in table.iter() {
        let name = symbol.name(endian, table.strings()).map_err(|error| error.to_string())?;
        // `$x` and the like are the assembler's marks of code and data, not names.
        let is_place = !symbol.is_undefined(endian) && symbol.st_shndx(endian) != elf::SHN_ABS;
        if is_place && !name.is_empty() && !name.starts_with(b"$") {
            let (value, size) = (symbol.st_value(endian), symbol.st_size(endian));
            if size > MAX_MEMORY || value.checked_add(size).is_none() {
                let name = String::from_utf8_lossy(name);
                return Err(format!("symbol {name} at {value:#x} has an impossible size of {size:#x}"));
            }
            symbols.push(Symbol {
                name: String::from_utf8_lossy(name).into_owned(),
                address: value,
                size,
                is_function: symbol.st_type() == elf::STT_FUNC,
                is_global: symbol.st_bind() != elf::STB_LOCAL,
            });
        }
    }
    Ok(symbols)
}

/// The unwind data of an ELF file, as they stand there.
fn unwind_sections(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<UnwindSections, String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let read = |name: &str| {
        let Some((_, section)) = sections.section_by_name(endian, name.as_bytes()) else { return Ok(None) };
        let bytes = section
            .data(endian, data)
            .map_err(|_| format!("the section {name} reaches beyond the end of the file: truncated?"))?;
        let address = section.sh_addr(endian);
        Ok::<_, String>((!bytes.is_empty()).then(|| Section { address, data: bytes.to_vec() }))
    };
    Ok(UnwindSections {
        sframe: read(".sframe")?,
        debug_frame: read(".debug_frame")?,
        eh_frame: read(".eh_frame")?,
        orc_hints: read(".orc_hints")?,
    })
}

/// A value for each byte of a guest's code: what is asked at every instruction must be found without a search.
#[derive(Debug)]
pub struct CodeMap<T> {
    ranges: Vec<(u64, Vec<T>)>,
}

impl<T: Clone> CodeMap<T> {
    /// The same value for all code.
    #[must_use]
    pub fn new(guest: &Guest, value: T) -> Self {
        let ranges = guest.text().map(|text| (text.start, vec![value.clone(); (text.end - text.start) as usize]));
        Self { ranges: ranges.collect() }
    }

    /// The value at an address of code.
    pub fn get_mut(&mut self, address: u64) -> Option<&mut T> {
        self.ranges
            .iter_mut()
            .find_map(|(start, values)| values.get_mut(usize::try_from(address.checked_sub(*start)?).ok()?))
    }
}

/// Extends a segment to whole pages and to its size in memory.
fn whole_pages(mut piece: Segment, memory_size: u64) -> Result<Segment, String> {
    let lead = piece.address % PAGE;
    let size =
        memory_size.checked_add(lead).filter(|size| *size <= MAX_MEMORY && memory_size >= piece.data.len() as u64);
    let size =
        size.ok_or_else(|| format!("the segment at {:#x} has an impossible size of {memory_size:#x}", piece.address))?;
    let size = size.next_multiple_of(PAGE);
    piece.address -= lead;
    if piece.address.checked_add(size).is_none() {
        return Err(format!("the segment at {:#x} wraps around the address space", piece.address));
    }
    piece.data.splice(0..0, std::iter::repeat_n(0, lead as usize));
    piece.data.resize(size as usize, 0);
    Ok(piece)
}

/// One symbol of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    is_function: bool,
    is_global: bool,
}

/// The symbols of a guest.
#[derive(Debug, Clone)]
pub struct Symbols {
    all: Vec<Symbol>,
    /// Functions by address, one for each address.
    functions: Vec<Symbol>,
}

/// An address as `symbol+0x10`, in this function or right behind it; without one as a bare number.
#[must_use]
pub fn name_in(function: Option<&Symbol>, address: u64) -> String {
    match function {
        Some(function) => format!("{}+{:#x}", function.name, address - function.address),
        None => format!("{address:#x}"),
    }
}

impl Symbols {
    fn new(all: Vec<Symbol>) -> Self {
        let mut functions: Vec<_> =
            all.iter().filter(|symbol| symbol.is_function && symbol.size > 0).cloned().collect();
        // Of aliases, the first global one by name stands for all, so that a point has one name.
        functions.sort_by(|left, right| {
            (left.address, !left.is_global, &left.name).cmp(&(right.address, !right.is_global, &right.name))
        });
        functions.dedup_by_key(|symbol| symbol.address);
        Self { all, functions }
    }

    /// The address of a symbol.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.all.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address)
    }

    /// The addresses of the symbols whose names begin like this.
    #[must_use]
    pub fn addresses_of_prefix(&self, prefix: &str) -> Vec<u64> {
        self.all.iter().filter(|symbol| symbol.name.starts_with(prefix)).map(|symbol| symbol.address).collect()
    }

    /// The names of all symbols.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|symbol| symbol.name.as_str())
    }

    /// The function of this name; an alias gives the function that stands for it.
    #[must_use]
    pub fn function_named(&self, name: &str) -> Option<&Symbol> {
        let address = self.all.iter().find(|symbol| symbol.is_function && symbol.name == name)?.address;
        self.functions.iter().find(|function| function.address == address)
    }

    /// The functions, by address.
    #[must_use]
    pub fn functions(&self) -> &[Symbol] {
        &self.functions
    }

    /// The function that holds this address.
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<&Symbol> {
        let index = self.functions.partition_point(|function| function.address <= address).checked_sub(1)?;
        let function = &self.functions[index];
        (address - function.address < function.size).then_some(function)
    }

    /// An address as `symbol+0x10`; one that is in no function as a bare number.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        name_in(self.function_at(address), address)
    }

    /// An address outside functions, by the nearest symbol at or below it.
    #[must_use]
    pub fn name_of_data(&self, address: u64) -> String {
        let below = self.all.iter().filter(|symbol| symbol.address <= address && !symbol.is_function);
        match below.max_by_key(|symbol| (symbol.address, std::cmp::Reverse(&symbol.name))) {
            Some(symbol) if symbol.address == address => symbol.name.clone(),
            Some(symbol) => format!("{}+{:#x}", symbol.name, address - symbol.address),
            None => format!("{address:#x}"),
        }
    }

    /// A return address as `symbol+0x10`: it belongs to the function that holds the call, although it may point behind it.
    #[must_use]
    pub fn name_of_return(&self, address: u64) -> String {
        self.name_of(CodeAddress::Return(address))
    }

    /// A pc of a walk as `symbol+0x10`.
    #[must_use]
    pub fn name_of(&self, pc: CodeAddress) -> String {
        name_in(self.function_at(pc.lookup()), pc.value())
    }
}

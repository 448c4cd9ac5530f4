//! The dynamic section (gABI chapter 5): what a module defines, what it needs, and its relocations. It is read from memory, as a
//! dynamic linker reads it, so that a file without section headers is no different.

use std::ops::Range;

use super::memory::bytes_at;
use crate::guest::Segment;

/// The tags of entries (gABI chapter 5; the GNU ones from binutils' include/elf/common.h).
mod tag {
    pub(super) const NEEDED: u64 = 1;
    pub(super) const PLTRELSZ: u64 = 2;
    pub(super) const HASH: u64 = 4;
    pub(super) const STRTAB: u64 = 5;
    pub(super) const SYMTAB: u64 = 6;
    pub(super) const RELA: u64 = 7;
    pub(super) const RELASZ: u64 = 8;
    pub(super) const STRSZ: u64 = 10;
    pub(super) const SONAME: u64 = 14;
    pub(super) const REL: u64 = 17;
    pub(super) const JMPREL: u64 = 23;
    pub(super) const INIT_ARRAY: u64 = 25;
    pub(super) const INIT_ARRAYSZ: u64 = 27;
    pub(super) const RELRSZ: u64 = 35;
    pub(super) const RELR: u64 = 36;
    pub(super) const GNU_HASH: u64 = 0x6fff_fef5;
    pub(super) const VERSYM: u64 = 0x6fff_fff0;
    pub(super) const VERDEF: u64 = 0x6fff_fffc;
    pub(super) const VERNEED: u64 = 0x6fff_fffe;
}

/// More entries, symbols or relocations than any file has; a corrupt count must not exhaust the machine.
const MAX_COUNT: u64 = 1 << 24;

/// What a symbol is (gABI chapter 4, `st_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// Data, or nothing in particular.
    Data,
    /// A function.
    Function,
    /// A function that returns the address of the one that it stands for (`STT_GNU_IFUNC`).
    Indirect,
    /// A thread-local variable: its value is an offset in the module's block.
    Tls,
}

impl SymbolKind {
    /// The kind in an `st_info`.
    pub(super) const fn of(info: u8) -> Self {
        match info & 15 {
            2 => Self::Function,
            6 => Self::Tls,
            10 => Self::Indirect,
            _ => Self::Data,
        }
    }
}

/// A symbol by which modules find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicSymbol {
    /// Its name, without its version.
    pub name: String,
    /// The version that it has or asks for, if there are versions.
    pub version: Option<String>,
    /// Whether it is found only by those who ask for its version (`memcpy@GLIBC_2.2.5`).
    pub is_hidden: bool,
    /// What it is.
    pub kind: SymbolKind,
    /// Whether the module defines it.
    pub is_defined: bool,
    /// Whether it may be missing.
    pub is_weak: bool,
    /// Whether other modules can see it.
    pub is_exported: bool,
    /// Whether its value is no address (`SHN_ABS`).
    pub is_absolute: bool,
    /// Its address; of a thread-local variable its offset.
    pub value: u64,
    /// In bytes.
    pub size: u64,
}

/// A relocation with an addend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// The address of what is changed.
    pub place: u64,
    /// The type, which means something for one CPU.
    pub kind: u32,
    /// The index of the symbol; 0: none.
    pub symbol: usize,
    /// The addend.
    pub addend: i64,
}

/// What a module says to the dynamic linker.
#[derive(Debug, Clone, Default)]
pub struct Dynamic {
    /// The address of the dynamic section.
    pub address: Option<u64>,
    /// The module's name for others.
    pub soname: Option<String>,
    /// The names of the modules that it needs.
    pub needed: Vec<String>,
    /// The symbols, by the index that relocations use.
    pub symbols: Vec<DynamicSymbol>,
    /// All relocations, those of the PLT last.
    pub relocations: Vec<Relocation>,
    /// How many of them are the PLT's.
    pub of_plt: usize,
    /// Words to which only the load bias is added (`DT_RELR`).
    pub relative: Vec<u64>,
    /// Where the addresses of its constructors are (`DT_INIT_ARRAY`).
    pub constructors: Range<u64>,
}

impl Dynamic {
    /// Adds to all addresses.
    pub(super) fn shift(&mut self, by: u64) {
        for address in self.address.iter_mut().chain(&mut self.relative) {
            *address = address.wrapping_add(by);
        }
        let Range { start, end } = self.constructors;
        if start != end {
            self.constructors = start.wrapping_add(by)..end.wrapping_add(by);
        }
        for relocation in &mut self.relocations {
            relocation.place = relocation.place.wrapping_add(by);
        }
        for symbol in &mut self.symbols {
            if symbol.is_defined && !symbol.is_absolute && symbol.kind != SymbolKind::Tls {
                symbol.value = symbol.value.wrapping_add(by);
            }
        }
    }
}

/// A reader of little-endian numbers in loaded memory.
#[derive(Clone, Copy)]
struct Image<'m>(&'m [Segment]);

impl<'m> Image<'m> {
    fn bytes(self, address: u64, size: u64) -> Option<&'m [u8]> {
        bytes_at(self.0, address).get(..usize::try_from(size).ok()?)
    }

    fn u16(self, address: u64) -> Option<u16> {
        self.bytes(address, 2)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(self, address: u64) -> Option<u32> {
        self.bytes(address, 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(self, address: u64) -> Option<u64> {
        self.bytes(address, 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// The entries of the dynamic section.
struct Entries(Vec<(u64, u64)>);

impl Entries {
    fn read(image: Image<'_>, address: u64) -> Result<Self, String> {
        let mut entries = Vec::new();
        for index in 0..MAX_COUNT {
            let at = address.wrapping_add(16 * index);
            let pair = image.u64(at).zip(image.u64(at.wrapping_add(8)));
            match pair.ok_or_else(|| format!("the dynamic section at {address:#x} is not loaded to its end"))? {
                (0, _) => break,
                entry => entries.push(entry),
            }
        }
        Ok(Self(entries))
    }

    fn get(&self, tag: u64) -> Option<u64> {
        self.0.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value)
    }

    fn all(&self, tag: u64) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(move |(found, _)| *found == tag).map(|(_, value)| *value)
    }
}

/// The strings of the dynamic section.
struct Strings<'m>(&'m [u8]);

impl Strings<'_> {
    fn get(&self, offset: u64) -> Option<String> {
        let rest = self.0.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// Reads the dynamic section at this address, in the memory of a module that is where it was linked.
pub(super) fn read(segments: &[Segment], address: u64) -> Result<Dynamic, String> {
    let image = Image(segments);
    let entries = Entries::read(image, address)?;
    let lost = |what: &str| format!("the dynamic section names {what} that is not loaded: the file is damaged");
    let strings = match (entries.get(tag::STRTAB), entries.get(tag::STRSZ)) {
        (Some(at), Some(size)) => image.bytes(at, size).ok_or_else(|| lost("a string table"))?,
        _ => &[],
    };
    let strings = Strings(strings);
    let string = |offset| strings.get(offset).ok_or_else(|| lost("a string"));
    if entries.get(tag::REL).is_some() {
        return Err("its relocations have no addends (DT_REL), which no 64-bit ABI here uses".to_owned());
    }
    let (mut relocations, mut of_plt) = (Vec::new(), 0);
    for (table, size) in [(tag::RELA, tag::RELASZ), (tag::JMPREL, tag::PLTRELSZ)] {
        of_plt = 0;
        let Some((table, size)) = entries.get(table).zip(entries.get(size)) else { continue };
        let bytes = image.bytes(table, size).ok_or_else(|| lost("a table of relocations"))?;
        relocations.extend(bytes.chunks_exact(24).map(relocation));
        of_plt = bytes.len() / 24;
    }
    let relative = match entries.get(tag::RELR).zip(entries.get(tag::RELRSZ)) {
        Some((table, size)) => relr(image.bytes(table, size).ok_or_else(|| lost("a table of relative relocations"))?),
        None => Vec::new(),
    };
    // Relocations may name more symbols than the hash tables know.
    let named = relocations.iter().map(|relocation| relocation.symbol as u64 + 1).max().unwrap_or(0);
    let count = named.max(symbol_count(image, &entries).unwrap_or(0));
    let symbols = match entries.get(tag::SYMTAB) {
        Some(table) if count <= MAX_COUNT => {
            let versions = Versions::read(image, &entries, &strings);
            let bytes = image.bytes(table, 24 * count).ok_or_else(|| lost("a symbol table"))?;
            (0..).zip(bytes.chunks_exact(24)).map(|(index, bytes)| symbol(bytes, index, &strings, &versions)).collect()
        }
        _ => Vec::new(),
    };
    let constructors = match entries.get(tag::INIT_ARRAY).zip(entries.get(tag::INIT_ARRAYSZ)) {
        Some((table, size)) if image.bytes(table, size).is_some() => table..table + size,
        Some(_) => return Err(lost("a table of constructors")),
        None => 0..0,
    };
    Ok(Dynamic {
        constructors,
        address: Some(address),
        soname: entries.get(tag::SONAME).map(string).transpose()?,
        needed: entries.all(tag::NEEDED).map(string).collect::<Result<_, _>>()?,
        symbols,
        relocations,
        of_plt,
        relative,
    })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// An `Elf64_Rela`.
pub(super) fn relocation(bytes: &[u8]) -> Relocation {
    let info = u64::from_le_bytes(number(bytes, 8));
    Relocation {
        place: u64::from_le_bytes(number(bytes, 0)),
        kind: info as u32,
        symbol: (info >> 32) as usize,
        addend: i64::from_le_bytes(number(bytes, 16)),
    }
}

/// The words that a table of relative relocations names: an address, then bit maps of the 63 words that follow (gABI, `SHT_RELR`).
fn relr(bytes: &[u8]) -> Vec<u64> {
    let (mut places, mut next) = (Vec::new(), 0_u64);
    for entry in bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(number(bytes, 0))) {
        if entry & 1 == 0 {
            places.push(entry);
            next = entry.wrapping_add(8);
        } else {
            places.extend((0..63).filter(|bit| entry >> (bit + 1) & 1 != 0).map(|bit| next.wrapping_add(8 * bit)));
            next = next.wrapping_add(8 * 63);
        }
    }
    places
}

/// How many symbols there are: only the hash tables say so.
fn symbol_count(image: Image<'_>, entries: &Entries) -> Option<u64> {
    if let Some(hash) = entries.get(tag::HASH) {
        return image.u32(hash.wrapping_add(4)).map(u64::from);
    }
    let hash = entries.get(tag::GNU_HASH)?;
    let [buckets, first, blooms] = [0, 4, 8].map(|at| image.u32(hash.wrapping_add(at)).map(u64::from));
    let (buckets, first, blooms) = (buckets?, first?, blooms?);
    let table = hash.wrapping_add(16 + 8 * blooms);
    let last = (0..buckets).filter_map(|bucket| image.u32(table.wrapping_add(4 * bucket))).max().map(u64::from)?;
    if last < first {
        return Some(first);
    }
    let chain = table.wrapping_add(4 * buckets);
    // The last chain ends with the last symbol: an odd hash.
    let is_end = |index: &u64| image.u32(chain.wrapping_add(4 * (index - first))).is_none_or(|hash| hash & 1 != 0);
    (last..last + MAX_COUNT).find(is_end).map(|index| index + 1)
}

fn symbol(bytes: &[u8], index: u64, strings: &Strings<'_>, versions: &Versions<'_>) -> DynamicSymbol {
    let (info, other) = (bytes[4], bytes[5]);
    let section = u16::from_le_bytes(number(bytes, 6));
    let (version, is_hidden) = versions.of(index);
    DynamicSymbol {
        name: strings.get(u64::from(u32::from_le_bytes(number(bytes, 0)))).unwrap_or_default(),
        version,
        is_hidden,
        kind: SymbolKind::of(info),
        is_defined: section != 0,
        is_weak: info >> 4 == 2,
        // STB_LOCAL; STV_INTERNAL and STV_HIDDEN.
        is_exported: info >> 4 != 0 && !matches!(other & 3, 1 | 2),
        is_absolute: section == 0xfff1,
        value: u64::from_le_bytes(number(bytes, 8)),
        size: u64::from_le_bytes(number(bytes, 16)),
    }
}

/// Notes the version that an entry at this address defines or asks for.
type EachVersion<'e> = &'e mut dyn FnMut(u64, &mut Vec<(u16, String)>);

/// The versions of symbols (Linux Standard Base Core, symbol versioning).
struct Versions<'m> {
    image: Image<'m>,
    table: Option<u64>,
    names: Vec<(u16, String)>,
}

impl<'m> Versions<'m> {
    fn read(image: Image<'m>, entries: &Entries, strings: &Strings<'_>) -> Self {
        let mut names = Vec::new();
        let name = |at: u64| strings.get(u64::from(image.u32(at)?));
        let mut next = |start: Option<u64>, link: u64, each: EachVersion<'_>| {
            let mut at = start;
            let mut left = 1 << 16; // versions have 15 bits
            while let Some(entry) = at.filter(|_| left > 0) {
                each(entry, &mut names);
                left -= 1;
                let offset = image.u32(entry.wrapping_add(link)).unwrap_or(0);
                at = (offset != 0).then(|| entry.wrapping_add(u64::from(offset)));
            }
        };
        // Verdef: version, flags, index, count, hash, aux, next. Verdaux: name, next.
        next(entries.get(tag::VERDEF), 16, &mut |at, names| {
            let aux = image.u32(at.wrapping_add(12)).unwrap_or(0);
            names.extend(image.u16(at.wrapping_add(4)).zip(name(at.wrapping_add(u64::from(aux)))));
        });
        // Verneed: version, count, file, aux, next. Vernaux: hash, flags, index, name, next.
        next(entries.get(tag::VERNEED), 12, &mut |at, names| {
            let count = image.u16(at.wrapping_add(2)).unwrap_or(0);
            let mut aux = at.wrapping_add(u64::from(image.u32(at.wrapping_add(8)).unwrap_or(0)));
            for _ in 0..count {
                names.extend(image.u16(aux.wrapping_add(6)).zip(name(aux.wrapping_add(8))));
                aux = aux.wrapping_add(u64::from(image.u32(aux.wrapping_add(12)).unwrap_or(0)));
            }
        });
        Self { image, table: entries.get(tag::VERSYM), names }
    }

    /// The version of a symbol, and whether only those who ask for it find it.
    fn of(&self, index: u64) -> (Option<String>, bool) {
        let Some(word) = self.table.and_then(|table| self.image.u16(table.wrapping_add(2 * index))) else {
            return (None, false);
        };
        let number = word & 0x7fff;
        let name = self.names.iter().find(|(found, _)| *found == number && number > 1);
        (name.map(|(_, name)| name.clone()), word & 0x8000 != 0)
    }
}

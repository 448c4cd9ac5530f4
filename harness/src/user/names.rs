//! Names for the addresses of modules: from both symbol tables, and from unwind data where code has no name.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

use super::dynamic::SymbolKind;
use super::memory::Header;
use super::module::Module;
use super::unwind;
use crate::guest::{MAX_MEMORY, Symbol, infer_sizes};

/// The most symbols that a file may have.
const MAX_SYMBOLS: usize = 1 << 23;

/// Reads the names of a linked file.
pub(super) fn read(module: &mut Module, header: &Header, data: &[u8]) -> Result<(), String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(|error| error.to_string())?;
    let mut symbols: Vec<Symbol> = Vec::new();
    if table.len() > MAX_SYMBOLS {
        return Err(format!("it has more than {MAX_SYMBOLS} symbols"));
    }
    for symbol in table.iter() {
        let name = symbol.name(endian, table.strings()).map_err(|error| error.to_string())?;
        let kind = SymbolKind::of(symbol.st_info().0);
        let is_place =
            !symbol.is_undefined(endian) && symbol.st_shndx(endian) != elf::SHN_ABS && kind != SymbolKind::Tls;
        let is_file = matches!(symbol.st_info().0 & 15, 3 | 4); // STT_SECTION, STT_FILE
        if is_place && !is_file && is_name(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            let is_global = symbol.st_bind() != elf::STB_LOCAL;
            symbols.push(named(name, (symbol.st_value(endian), symbol.st_size(endian)), kind, is_global));
        }
    }
    let known: BTreeSet<(u64, String)> = symbols.iter().map(|it| (it.address, it.name.clone())).collect();
    let exported = module.dynamic.symbols.iter().filter(|symbol| symbol.is_defined && !symbol.is_absolute);
    for symbol in exported.filter(|symbol| symbol.kind != SymbolKind::Tls && !symbol.name.is_empty()) {
        let name = match &symbol.version {
            Some(version) if symbol.is_hidden => format!("{}@{version}", symbol.name),
            _ => symbol.name.clone(),
        };
        // The other table may have both, with the version in its name.
        if !known.contains(&(symbol.value, name.clone())) {
            symbols.push(named(name, (symbol.value, symbol.size), symbol.kind, true));
        }
    }
    let text: Vec<(u64, u64)> = sections
        .iter()
        .filter(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR))
        .map(|section| (section.sh_addr(endian), section.sh_addr(endian).saturating_add(section.sh_size(endian))))
        .collect();
    for section in sections.iter() {
        let name = sections.section_name(endian, section).map_err(|error| error.to_string())?;
        if name.starts_with(b".plt") || name == b".iplt" {
            let place = (section.sh_addr(endian), section.sh_size(endian));
            symbols.extend(of_plt(module, &String::from_utf8_lossy(name), place));
        }
    }
    finish(module, symbols, &text);
    Ok(())
}

/// The size of an entry of a PLT in bytes: the same for all linkers and CPUs.
const PLT_ENTRY: u64 = 16;

/// Names for a PLT, which has none: each entry is called after the function to which it leads, and what else there is after its
/// section. Entries are in the order of their relocations, and last (x86-64 psABI 5.2, AAELF64, RISC-V psABI).
fn of_plt(module: &Module, section: &str, (address, size): (u64, u64)) -> Vec<Symbol> {
    let dynamic = &module.dynamic;
    let relocations = &dynamic.relocations[dynamic.relocations.len() - dynamic.of_plt..];
    let all = PLT_ENTRY * relocations.len() as u64;
    let has_entries = matches!(section, ".plt" | ".plt.sec" | ".iplt") && !relocations.is_empty() && all <= size;
    let head = if has_entries && size - all <= 2 * PLT_ENTRY { size - all } else { size };
    let function = |name: String, place| named(name, place, SymbolKind::Function, false);
    let mut symbols = Vec::new();
    if head > 0 {
        symbols.push(function(section.to_owned(), (address, head)));
    }
    let entries = (address + head..address + size).step_by(PLT_ENTRY as usize);
    for (at, relocation) in entries.zip(relocations) {
        let target = dynamic.symbols.get(relocation.symbol).filter(|symbol| !symbol.name.is_empty());
        let suffix = section.strip_prefix(".plt").unwrap_or_default();
        let name = match target {
            Some(symbol) => format!("{}@plt{suffix}", symbol.name),
            None => format!("ifunc_{:x}@plt{suffix}", relocation.addend),
        };
        symbols.push(function(name, (at, PLT_ENTRY)));
    }
    symbols
}

/// `$x` and the like are mapping symbols (AAELF64, RISC-V psABI), and `.L` labels are the assembler's.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b"$") && !name.starts_with(b".L")
}

pub(super) fn named(name: String, (address, size): (u64, u64), kind: SymbolKind, is_global: bool) -> Symbol {
    let is_function = matches!(kind, SymbolKind::Function | SymbolKind::Indirect);
    let size = if size > MAX_MEMORY || address.checked_add(size).is_none() { 0 } else { size };
    Symbol { name, address, size, is_function, is_global, is_size_inferred: false }
}

/// Gives functions without a size one, within these ranges of code; and keeps the symbols.
pub(super) fn finish(module: &mut Module, mut symbols: Vec<Symbol>, text: &[(u64, u64)]) {
    let end = |symbol: &Symbol| {
        let range = text.iter().find(|(start, end)| (*start..*end).contains(&symbol.address));
        range.map(|(_, end)| *end)
    };
    let ends: Vec<Option<u64>> = symbols.iter().map(end).collect();
    infer_sizes(&mut symbols, &ends);
    module.symbols = symbols;
}

/// Names code that has no name and is described by unwind data; an address within a function gets none. What was given a size for
/// want of one ends where such code begins.
pub(super) fn complete(module: &mut Module) {
    let described = unwind::functions(&module.unwind, module.cpu.abi);
    let mut functions: Vec<(u64, u64)> = Vec::new();
    let starts: Vec<u64> = described.iter().map(|(start, _)| *start).collect();
    for symbol in module.symbols.iter_mut().filter(|symbol| symbol.is_function) {
        if symbol.is_size_inferred {
            let next = starts[starts.partition_point(|start| *start <= symbol.address)..].first();
            symbol.size = next.map_or(symbol.size, |next| symbol.size.min(next - symbol.address));
        }
        functions.push((symbol.address, symbol.address.saturating_add(symbol.size)));
    }
    functions.sort_unstable();
    let mut furthest = 0;
    for (_, end) in &mut functions {
        furthest = furthest.max(*end);
        *end = furthest;
    }
    for (start, size) in described {
        let before = functions.partition_point(|(address, _)| *address <= start);
        let is_covered = functions[..before].last().is_some_and(|(_, end)| start < *end);
        if is_covered || size == 0 || size > MAX_MEMORY {
            continue;
        }
        let name = format!("sub_{:x}", start.wrapping_sub(module.bias));
        module.symbols.push(named(name, (start, size), SymbolKind::Function, false));
    }
}

/// The names of several modules. One that stands for another address already has its module's name before it.
pub(super) fn of_all(modules: &[Module]) -> Vec<Symbol> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        for symbol in &module.symbols {
            let owner = *taken.entry(symbol.name.clone()).or_insert(index);
            let mut symbol = symbol.clone();
            if owner != index {
                symbol.name = format!("{}:{}", module.name, symbol.name);
            }
            all.push(symbol);
        }
    }
    all
}

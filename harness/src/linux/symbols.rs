//! The symbols of a kernel. Names are not unique, addresses neither, and a kernel's own table knows no sizes: those are inferred, as
//! the distance to the next higher address. That is an upper bound, with padding and with the literals that may stand in front of
//! the next function; and whether a symbol names code is taken from the section that it is in.

use rustc_hash::FxHashMap;

use super::boot::Load;
use super::kallsyms::{AddressFormat, Entry, Kallsyms};
use crate::guest::{Symbol, Symbols, name_in};

/// Where symbols came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolSource {
    /// The symbol table of the ELF file.
    Elf,
    /// The image's own table.
    Kallsyms(AddressFormat),
}

/// The symbols of an image, by address.
#[derive(Debug)]
pub struct KernelSymbols {
    /// By address, and at one address the name that stands for all of them first.
    all: Vec<Symbol>,
    /// The first symbol of each name.
    by_name: FxHashMap<Box<str>, u32>,
    /// For each symbol the next of its name; itself, if there is none.
    next_of_name: Vec<u32>,
    /// Values that are not places in the image: x86-64's per-CPU variables before 6.15, as offsets.
    absolute: FxHashMap<Box<str>, u64>,
    source: SymbolSource,
    /// Names that code was asked for, and why it does not tell them.
    untold: FxHashMap<&'static str, String>,
    /// Whether data is known from code alone.
    names_functions_alone: bool,
}

impl KernelSymbols {
    pub(super) fn of_elf(symbols: Vec<Symbol>, loads: &[Load]) -> Self {
        let (places, absolute): (Vec<_>, Vec<_>) = symbols.into_iter().partition(|symbol| symbol.address >> 63 == 1);
        let absolute = absolute.into_iter().map(|symbol| (symbol.name.into(), symbol.address)).collect();
        Self::new(places, absolute, SymbolSource::Elf, loads)
    }

    pub(super) fn of_kallsyms(table: Kallsyms, loads: &[Load]) -> Self {
        let symbol = |Entry { address, kind, name, .. }: Entry| Symbol {
            name,
            address,
            size: 0,
            is_size_inferred: true,
            // nm(1): text, and weak symbols that are not objects.
            is_function: matches!(kind, b't' | b'T' | b'w' | b'W'),
            is_global: kind.is_ascii_uppercase() || kind == b'w',
        };
        let (absolute, places): (Vec<_>, Vec<_>) = table.entries.into_iter().partition(|entry| entry.is_absolute);
        let absolute = absolute.into_iter().map(|entry| (entry.name.into(), entry.address)).collect();
        let places = places.into_iter().map(symbol).collect();
        Self::new(places, absolute, SymbolSource::Kallsyms(table.format), loads)
    }

    fn new(mut all: Vec<Symbol>, absolute: FxHashMap<Box<str>, u64>, source: SymbolSource, loads: &[Load]) -> Self {
        // The guests' order behind that of ranks: the first global alias by name stands for all.
        all.sort_by(|left, right| {
            let key = |symbol: &Symbol| (symbol.address, !symbol.is_function, rank(&symbol.name), !symbol.is_global);
            key(left).cmp(&key(right)).then_with(|| left.name.cmp(&right.name))
        });
        let (mut above, mut here) = (u64::MAX, u64::MAX);
        for symbol in all.iter_mut().rev() {
            if symbol.address < here {
                (above, here) = (here, symbol.address);
            }
            if symbol.is_size_inferred {
                // What is in no load marks an end.
                let load = loads.iter().find(|load| (load.address..load.end()).contains(&symbol.address));
                symbol.size = load.map_or(0, |load| load.end().min(above) - symbol.address);
            }
        }
        let mut by_name: FxHashMap<Box<str>, u32> = FxHashMap::default();
        by_name.reserve(all.len());
        let mut next_of_name: Vec<u32> = (0..).take(all.len()).collect();
        for (index, symbol) in all.iter().enumerate().rev() {
            if let Some(next) = by_name.insert(symbol.name.as_str().into(), index as u32) {
                next_of_name[index] = next;
            }
        }
        Self {
            all,
            by_name,
            next_of_name,
            absolute,
            source,
            untold: FxHashMap::default(),
            names_functions_alone: false,
        }
    }

    /// The same symbols with data whose place its code tells, and reasons for what it does not tell.
    pub(super) fn with_data(self, told: Vec<(&'static str, Result<u64, String>)>, loads: &[Load]) -> Self {
        let names_functions_alone = told.iter().any(|(_, place)| place.is_ok());
        let (mut all, mut untold) = (self.all, FxHashMap::default());
        for (name, place) in told {
            match place {
                Ok(address) => all.push(Symbol {
                    name: name.to_owned(),
                    address,
                    size: 0,
                    is_size_inferred: true,
                    is_function: false,
                    is_global: true,
                }),
                Err(reason) => {
                    untold.insert(name, reason);
                }
            }
        }
        Self { untold, names_functions_alone, ..Self::new(all, self.absolute, self.source, loads) }
    }

    /// All that are places in the image, by address.
    #[must_use]
    pub fn all(&self) -> &[Symbol] {
        &self.all
    }

    /// Where they came from.
    #[must_use]
    pub const fn source(&self) -> SymbolSource {
        self.source
    }

    /// The symbols of this name, by address.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Symbol> + 'a {
        let mut next = self.by_name.get(name).copied();
        std::iter::from_fn(move || {
            let index = next?;
            let following = self.next_of_name[index as usize];
            next = (following != index).then_some(following);
            Some(&self.all[index as usize])
        })
    }

    /// Whether any symbol has this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.absolute.contains_key(name)
    }

    /// The symbol of this name.
    ///
    /// # Errors
    ///
    /// When there is none, or when it names several addresses: the error says which.
    pub fn unique(&self, name: &str) -> Result<&Symbol, String> {
        let first = self.named(name).next().ok_or_else(|| match self.untold.get(name) {
            Some(reason) => {
                format!("no symbol `{name}` (CONFIG_KALLSYMS_ALL is off), and code does not tell its place: {reason}")
            }
            None if self.names_functions_alone => {
                format!("no symbol `{name}`: the image's own table names functions alone (CONFIG_KALLSYMS_ALL is off)")
            }
            None => format!("no symbol `{name}`"),
        })?;
        if self.named(name).all(|other| other.address == first.address) {
            return Ok(first);
        }
        let addresses: Vec<String> = self.named(name).map(|symbol| format!("{:#x}", symbol.address)).collect();
        Err(format!("the symbol `{name}` names {} addresses: {}", addresses.len(), addresses.join(", ")))
    }

    /// The address of a name that has one alone; as [`KernelSymbols::unique`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn address(&self, name: &str) -> Result<u64, String> {
        self.unique(name).map(|symbol| symbol.address)
    }

    /// The value of a symbol that is not a place: the offset of a per-CPU variable on x86-64 before 6.15.
    #[must_use]
    pub fn absolute(&self, name: &str) -> Option<u64> {
        self.absolute.get(name).copied()
    }

    /// All symbols at this address.
    #[must_use]
    pub fn at(&self, address: u64) -> &[Symbol] {
        let start = self.all.partition_point(|symbol| symbol.address < address);
        let end = start + self.all[start..].partition_point(|symbol| symbol.address == address);
        &self.all[start..end]
    }

    /// The symbol that an address lies in, by the nearest one at or below it; of several the one that stands for all.
    #[must_use]
    pub fn containing(&self, address: u64) -> Option<&Symbol> {
        let last = self.all[..self.all.partition_point(|symbol| symbol.address <= address)].last()?;
        let symbol = self.at(last.address).first()?;
        (address - symbol.address < symbol.size).then_some(symbol)
    }

    /// An address as `symbol+0x10`; one that is in no symbol as a bare number.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        match self.containing(address) {
            Some(symbol) if symbol.address == address => symbol.name.clone(),
            symbol => name_in(symbol, address),
        }
    }

    /// The symbols as those of a guest. Where a function begins, a mark of the linker script names data; padding is no function.
    #[must_use]
    pub fn to_guest(&self) -> Symbols {
        let mut all = self.all.clone();
        let mut function = None;
        for symbol in &mut all {
            if !symbol.is_function {
            } else if is_padding(&symbol.name) {
                symbol.is_function = false;
            } else if !is_section_mark(&symbol.name) {
                function = Some(symbol.address);
            } else if function == Some(symbol.address) {
                symbol.is_function = false;
            }
        }
        Self::as_guest(all)
    }

    /// Symbols of a kernel as those of a guest.
    #[must_use]
    pub fn as_guest(all: Vec<Symbol>) -> Symbols {
        Symbols::ordered(all, rank)
    }
}

/// Which of several names of one address stands for it: the function's own; one that Linux adds; a mark of the linker script; padding.
fn rank(name: &str) -> u8 {
    match name {
        _ if is_padding(name) => 3,
        _ if is_section_mark(name) => 2,
        // What is linked a second time for code that runs before relocation (arch/*/include/asm/linkage.h, arch/x86/boot/startup).
        _ if name.starts_with("__pi_") => 1,
        _ => 0,
    }
}

/// Whether this names the padding in front of a function, which objtool and the compilers give a symbol of its own
/// (`__pfx_` of tools/objtool/elf.c, `__cfi_` of -fsanitize=kcfi).
fn is_padding(name: &str) -> bool {
    name.starts_with("__pfx_") || name.starts_with("__cfi_")
}

/// Whether this is the name of a place in the linker script (include/asm-generic/vmlinux.lds.h: `__entry_text_start`, `_etext`) or of
/// a table of functions (arch/x86/lib/retpoline.S: `__x86_indirect_thunk_array`), and not of a function. In kallsyms all have the
/// letter of text.
fn is_section_mark(name: &str) -> bool {
    const ENDS: [&str; 7] = ["text_start", "text_end", "text_begin", "_stext", "_etext", "_text", "_thunk_array"];
    name.starts_with('_') && ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: u64, name: &str) -> Entry {
        Entry { address, kind: b'T', name: name.to_owned(), is_absolute: false }
    }

    #[test]
    fn a_functions_own_name_stands_for_it_and_padding_is_none() {
        let entries = [
            text(0x1000, "__pi_memcpy"),
            text(0x1000, "memcpy"),
            text(0x1030, "__pfx_sort"),
            text(0x1040, "sort"),
            text(0x1080, "__pi___cpu_indirect_thunk_rax"),
            text(0x1080, "__cpu_indirect_thunk_array"),
            text(0x1080, "__cpu_indirect_thunk_rax"),
            text(0x10c0, "__pi_alone"),
            text(0x1100, "_etext"),
        ];
        let load = Load { address: 0x1000, memory_size: 0x200, data: Vec::new() };
        let table = Kallsyms { entries: entries.into(), format: AddressFormat::SelfRelative };
        let symbols = KernelSymbols::of_kallsyms(table, &[load]);
        let guest = symbols.to_guest();
        for name_of in [&|at| symbols.name(at), &|at| guest.name(at)] as [&dyn Fn(u64) -> String; 2] {
            assert_eq!(name_of(0x1004), "memcpy+0x4");
            assert_eq!(name_of(0x1041), "sort+0x1");
            assert_eq!(name_of(0x1085), "__cpu_indirect_thunk_rax+0x5");
            assert_eq!(name_of(0x10c8), "__pi_alone+0x8", "a function of its own");
        }
        assert_eq!(guest.name(0x1034), "0x1034");
        assert!(guest.functions().iter().all(|function| !function.name.starts_with("__pfx_")));
        // By its other name it is found all the same.
        assert_eq!(guest.function_named("__pi_memcpy").map(|function| function.name.as_str()), Some("memcpy"));
    }
}

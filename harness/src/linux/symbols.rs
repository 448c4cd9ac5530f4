//! The symbols of a kernel. Names are not unique, addresses neither, and a kernel's own table knows no sizes.

use rustc_hash::FxHashMap;

use super::boot::ElfSymbol;
use super::kallsyms::{AddressFormat, Entry, Kallsyms};
use crate::guest;

/// One symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSymbol {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: u64,
    /// Its size in bytes: an upper bound where it is inferred.
    pub size: u64,
    /// Whether no table gives its size, so that it reaches to the next higher address: with padding, and with the literals that may
    /// stand in front of the next function.
    pub is_size_inferred: bool,
    /// Whether it names code. Without an ELF symbol table that is: whether it lies in a section of code.
    pub is_function: bool,
    /// Whether other files see it.
    pub is_global: bool,
}

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
    all: Vec<KernelSymbol>,
    /// The first symbol of each name.
    by_name: FxHashMap<Box<str>, u32>,
    /// For each symbol the next of its name; itself, if there is none.
    next_of_name: Vec<u32>,
    /// Values that are not places in the image: x86-64's per-CPU variables before 6.15, as offsets.
    absolute: FxHashMap<Box<str>, u64>,
    source: SymbolSource,
}

impl KernelSymbols {
    pub(super) fn of_elf(symbols: Vec<ElfSymbol>, end: u64) -> Self {
        let symbol = |symbol: ElfSymbol| KernelSymbol {
            name: symbol.name,
            address: symbol.address,
            size: symbol.size,
            is_size_inferred: symbol.size == 0,
            is_function: symbol.is_function,
            is_global: symbol.is_global,
        };
        let (places, absolute): (Vec<_>, Vec<_>) =
            symbols.into_iter().map(symbol).partition(|symbol| symbol.address >> 63 == 1);
        let absolute = absolute.into_iter().map(|symbol| (symbol.name.into(), symbol.address)).collect();
        Self::new(places, absolute, SymbolSource::Elf, end)
    }

    pub(super) fn of_kallsyms(table: Kallsyms, end: u64) -> Self {
        let symbol = |Entry { address, kind, name, .. }: Entry| KernelSymbol {
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
        Self::new(places, absolute, SymbolSource::Kallsyms(table.format), end)
    }

    /// `end` is the end of the image: the last symbol reaches to it.
    fn new(mut all: Vec<KernelSymbol>, absolute: FxHashMap<Box<str>, u64>, source: SymbolSource, end: u64) -> Self {
        // The guests' order: the first global alias by name stands for all.
        all.sort_by(|left, right| {
            let key = |symbol: &KernelSymbol| (symbol.address, !symbol.is_function, !symbol.is_global);
            key(left).cmp(&key(right)).then_with(|| left.name.cmp(&right.name))
        });
        let (mut above, mut next) = (end, end);
        for symbol in all.iter_mut().rev() {
            if symbol.address < next {
                (above, next) = (next, symbol.address);
            }
            if symbol.is_size_inferred {
                symbol.size = above.saturating_sub(symbol.address);
            }
        }
        let mut by_name: FxHashMap<Box<str>, u32> = FxHashMap::default();
        by_name.reserve(all.len());
        let mut next_of_name: Vec<u32> = (0..).take(all.len()).collect();
        for (index, symbol) in all.iter().enumerate().rev() {
            let index = index as u32;
            if let Some(next) = by_name.insert(symbol.name.as_str().into(), index) {
                next_of_name[index as usize] = next;
            }
        }
        Self { all, by_name, next_of_name, absolute, source }
    }

    /// All that are places in the image, by address.
    #[must_use]
    pub fn all(&self) -> &[KernelSymbol] {
        &self.all
    }

    /// Where they came from.
    #[must_use]
    pub const fn source(&self) -> SymbolSource {
        self.source
    }

    /// The symbols of this name, by address.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a KernelSymbol> + 'a {
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
    pub fn unique(&self, name: &str) -> Result<&KernelSymbol, String> {
        let first = self.named(name).next().ok_or_else(|| format!("no symbol `{name}`"))?;
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
    pub fn at(&self, address: u64) -> &[KernelSymbol] {
        let start = self.all.partition_point(|symbol| symbol.address < address);
        let end = start + self.all[start..].partition_point(|symbol| symbol.address == address);
        &self.all[start..end]
    }

    /// The symbol that an address lies in, by the nearest one at or below it; of several the one that stands for all.
    #[must_use]
    pub fn containing(&self, address: u64) -> Option<&KernelSymbol> {
        let last = self.all[..self.all.partition_point(|symbol| symbol.address <= address)].last()?;
        let symbol = self.at(last.address).first()?;
        (address - symbol.address < symbol.size).then_some(symbol)
    }

    /// An address as `symbol+0x10`; one that is in no symbol as a bare number.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        match self.containing(address) {
            Some(symbol) if symbol.address == address => symbol.name.clone(),
            Some(symbol) => format!("{}+{:#x}", symbol.name, address - symbol.address),
            None => format!("{address:#x}"),
        }
    }

    /// The symbols as those of a guest.
    #[must_use]
    pub fn to_guest(&self) -> guest::Symbols {
        let symbol = |symbol: &KernelSymbol| guest::Symbol {
            name: symbol.name.clone(),
            address: symbol.address,
            size: symbol.size,
            is_function: symbol.is_function,
            is_global: symbol.is_global,
            is_size_inferred: symbol.is_size_inferred,
        };
        guest::Symbols::new(self.all.iter().map(symbol).collect())
    }
}

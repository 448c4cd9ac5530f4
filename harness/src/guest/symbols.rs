//! The symbols of a guest, and the names that they give to addresses.

use crate::near::did_you_mean;
use std::collections::HashMap;
use std::sync::OnceLock;

use kunwind::CodeAddress;

/// One symbol of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it names a function.
    pub is_function: bool,
    /// Whether other files see it.
    pub is_global: bool,
    /// Whether the file gives it no size, so that it was taken to reach to the next function.
    pub is_size_inferred: bool,
}

/// An address as `symbol+0x10`, in this function or right after it; without one as a bare number.
#[must_use]
pub fn name_in(function: Option<&Symbol>, address: u64) -> String {
    match function {
        Some(function) => format!("{}+{:#x}", function.name, address - function.address),
        None => format!("{address:#x}"),
    }
}

/// A distance as `+0x10` or `-0x10`.
#[must_use]
pub fn signed_hex(distance: i64) -> String {
    let sign = if distance < 0 { '-' } else { '+' };
    format!("{sign}{:#x}", distance.unsigned_abs())
}

/// The symbols of a guest. A kernel has some 200,000, so indices over all of them are built on first use.
#[derive(Debug, Clone)]
pub struct Symbols {
    all: Vec<Symbol>,
    /// Functions by address, one for each address.
    functions: Vec<Symbol>,
    /// For each name the first symbol that has it, as an index into `all`.
    by_name: OnceLock<HashMap<String, usize>>,
    /// Everything that is not a function, by address, as indices into `all`.
    data: OnceLock<Vec<usize>>,
}

impl Symbols {
    /// `; did you mean leaf or loop?`, of the functions whose names are like this one; or nothing.
    #[must_use]
    pub fn near(&self, name: &str) -> String {
        did_you_mean(name, self.functions().iter().map(|function| function.name.as_str()))
    }

    /// Sorts the symbols. One of several functions at the same address stands for all of them: the first global one by name.
    #[must_use]
    pub fn new(all: Vec<Symbol>) -> Self {
        Self::ordered(all, |_| 0)
    }

    /// The same, where the functions of a lower rank come before the global ones.
    #[must_use]
    pub fn ordered(all: Vec<Symbol>, rank: impl Fn(&str) -> u8) -> Self {
        let mut functions: Vec<_> =
            all.iter().filter(|symbol| symbol.is_function && symbol.size > 0).cloned().collect();
        // So that every point has one name.
        functions.sort_by(|left, right| {
            let key = |symbol: &Symbol| (symbol.address, rank(&symbol.name), !symbol.is_global);
            key(left).cmp(&key(right)).then_with(|| left.name.cmp(&right.name))
        });
        functions.dedup_by_key(|symbol| symbol.address);
        Self { all, functions, by_name: OnceLock::new(), data: OnceLock::new() }
    }

    fn named(&self, name: &str) -> Option<&Symbol> {
        let by_name = self.by_name.get_or_init(|| {
            let mut by_name = HashMap::with_capacity(self.all.len());
            for (index, symbol) in self.all.iter().enumerate() {
                by_name.entry(symbol.name.clone()).or_insert(index);
            }
            by_name
        });
        by_name.get(name).map(|index| &self.all[*index])
    }

    /// The address of a symbol.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.named(name).map(|symbol| symbol.address)
    }

    /// All symbols, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Symbol] {
        &self.all
    }

    /// The function of this name; an alias gives the function that stands for it.
    #[must_use]
    pub fn function_named(&self, name: &str) -> Option<&Symbol> {
        let is_it = |symbol: &&Symbol| symbol.is_function && symbol.name == name;
        let named = self.named(name).filter(|symbol| symbol.is_function).or_else(|| self.all.iter().find(is_it))?;
        let index = self.functions.binary_search_by_key(&named.address, |function| function.address).ok()?;
        Some(&self.functions[index])
    }

    /// The functions, by address.
    #[must_use]
    pub fn functions(&self) -> &[Symbol] {
        &self.functions
    }

    /// The labels inside a function and their offsets, by address: symbols that are no functions, but for the `$x` and `$d` that
    /// tell code from data.
    #[must_use]
    pub fn labels_in(&self, function: &Symbol) -> Vec<(String, u64)> {
        let data = self.data();
        let before = data.partition_point(|index| self.all[*index].address < function.address);
        let symbols = data[before..].iter().map(|index| &self.all[*index]);
        let inside = symbols.take_while(|symbol| symbol.address - function.address < function.size);
        let labels = inside.filter(|symbol| !symbol.name.is_empty() && !symbol.name.starts_with('$'));
        labels.map(|symbol| (symbol.name.clone(), symbol.address - function.address)).collect()
    }

    /// Everything that is not a function, by address, as indices into all symbols.
    fn data(&self) -> &[usize] {
        self.data.get_or_init(|| {
            let mut data: Vec<usize> = (0..self.all.len()).filter(|index| !self.all[*index].is_function).collect();
            data.sort_by_key(|index| (self.all[*index].address, std::cmp::Reverse(&self.all[*index].name)));
            data
        })
    }

    /// The index in [`Symbols::functions`] of the function that holds this address.
    #[must_use]
    pub fn index_at(&self, address: u64) -> Option<usize> {
        let index = self.functions.partition_point(|function| function.address <= address).checked_sub(1)?;
        (address - self.functions[index].address < self.functions[index].size).then_some(index)
    }

    /// The function that holds this address.
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<&Symbol> {
        self.index_at(address).map(|index| &self.functions[index])
    }

    /// An address as `symbol+0x10`; one that is in no function as a bare number.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        name_in(self.function_at(address), address)
    }

    /// An address outside functions, by the nearest symbol at or below it.
    #[must_use]
    pub fn name_of_data(&self, address: u64) -> String {
        let data = self.data();
        let after = data.partition_point(|index| self.all[*index].address <= address);
        match data[..after].last().map(|index| &self.all[*index]) {
            Some(symbol) if symbol.address == address => symbol.name.clone(),
            Some(symbol) => format!("{}+{:#x}", symbol.name, address - symbol.address),
            None => format!("{address:#x}"),
        }
    }

    /// A return address as `symbol+0x10`: it belongs to the function that holds the call, even if that call is its last
    /// instruction.
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

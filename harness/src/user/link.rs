//! What a dynamic linker does to modules that are in their places: it finds their symbols and applies their relocations, all at once.

use std::collections::HashMap;

use super::dynamic::{DynamicSymbol, Relocation, SymbolKind};
use super::module::{Kind, Module, STUB_SIZE};
use super::{index, names, refused, unwind};
use crate::Error;
use crate::cpu::Register;
use crate::guest::PAGE;

/// Where symbols are that no module defines: nothing is mapped there, so that a use is noticed. A page for each.
pub const MISSING: u64 = 0x7000_0000;

/// Where blocks of thread-local variables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// Above the thread pointer, and above so many bytes of the ABI's.
    One {
        /// In bytes.
        head: u64,
    },
    /// Below it.
    Two,
}

/// Functions of ours, as machine code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    /// Calls what the word 64 KiB after its first byte points to. After it comes an instruction that does nothing, and is not run.
    pub(super) call: &'static [u8],
    /// What a TLS descriptor of a static block calls.
    pub(super) tls_descriptor: &'static [u8],
    /// `__tls_get_addr`, for static blocks.
    pub(super) tls_get_addr: &'static [u8],
    /// An instruction that does nothing.
    pub(super) nop: &'static [u8],
    /// Makes a frame.
    pub(super) enter: &'static [u8],
    /// Takes it down and returns.
    pub(super) leave: &'static [u8],
    /// The functions that can be passed as arguments, in the order of [`ours::CALLBACKS`]: their code between these two.
    ///
    /// [`ours::CALLBACKS`]: super::ours::CALLBACKS
    pub(super) callbacks: [&'static [u8]; 5],
    /// CFI of a function at its first instruction (DWARF 5, 6.4.2).
    pub(super) at_entry: &'static [u8],
    /// What changes in `enter`, with its advances. Both alignment factors are those of `super::ours`.
    pub(super) on_entering: &'static [u8],
    /// How many bytes of a function are covered by then.
    pub(super) entered: u8,
    /// What changes at the last instruction, which returns.
    pub(super) on_leaving: &'static [u8],
    /// The size of that in bytes.
    pub(super) last: u8,
    /// The column of the return address.
    pub(super) ra: u8,
}

/// What differs between CPUs.
pub(super) trait OfCpu: Sync {
    /// Applies a relocation.
    ///
    /// # Errors
    ///
    /// Why not: its type is not known, or its value does not fit.
    fn relocate(&self, link: &mut Link<'_>, site: Site) -> Result<(), String>;

    /// Code at `at` that jumps to where the word at `slot` points.
    fn stub(&self, at: u64, slot: u64) -> [u8; STUB_SIZE as usize];

    /// Where thread-local variables are.
    fn variant(&self) -> Variant;

    /// The general register that holds the thread pointer, if one does.
    fn thread_register(&self) -> Option<Register> {
        None
    }

    /// The general register that holds the address of a symbol in all code of a program.
    fn global_pointer(&self) -> Option<(Register, &'static str)> {
        None
    }

    /// The words that the ABI and its C library keep at fixed offsets from the thread pointer. `vector` is the address of the first
    /// pair of the vector of blocks.
    fn thread_words(&self, pointer: u64, vector: u64) -> Vec<(i64, u64)>;

    /// The arguments of the functions that choose among implementations: a CPU without any extension. `room` is the address of 64
    /// bytes, which hold [`OfCpu::capabilities`].
    fn resolver_arguments(&self, room: u64) -> Vec<u64>;

    /// The structure that a resolver's argument points to.
    fn capabilities(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Functions of ours.
    fn code(&self) -> &'static Code;
}

/// The offset of a thread-local variable that no file defines: nothing is mapped there.
const NOWHERE: u64 = 1 << 40;

/// What a relocation's symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// An address, or a plain number.
    Address(u64),
    /// Whatever the function at this address will return.
    Indirect(u64),
    /// A thread-local variable: the module's index, and the offset in its block.
    Tls(usize, u64),
}

/// A relocation of a module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) module: usize,
    pub(super) relocation: Relocation,
}

/// What is left to do, and what was not found.
#[derive(Debug, Default)]
pub(super) struct Linked {
    /// The functions that are to be run, each with the address of the word that will hold its result.
    pub(super) indirect: Vec<(u64, u64)>,
    /// The symbols that no module defines, in the order of their pages from [`MISSING`] on.
    pub(super) missing: Vec<String>,
}

/// Where functions of ours are that find thread-local variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct TlsFunctions {
    /// What TLS descriptors call.
    pub(super) descriptor: u64,
    /// `__tls_get_addr`.
    pub(super) get_addr: u64,
}

/// The linker at work.
pub(super) struct Link<'m> {
    modules: &'m mut [Module],
    of_cpu: &'static dyn OfCpu,
    /// The offset of each module's thread-local variables from the thread pointer.
    blocks: &'m [Option<u64>],
    /// Functions of ours: what TLS descriptors call, and `__tls_get_addr` where no module has it.
    tls_functions: TlsFunctions,
    /// Where the symbols of each name are defined: the module, and the index of the symbol.
    exports: HashMap<String, Vec<(usize, usize)>>,
    linked: Linked,
}

/// Relocates modules, which find each other in this order. `blocks` are the offsets of their thread-local variables from the thread
/// pointer.
///
/// # Errors
///
/// [`Error::Elf`] for a relocation that is not understood, or whose value does not fit.
pub(super) fn link(
    modules: &mut [Module],
    of_cpu: &'static dyn OfCpu,
    blocks: &[Option<u64>],
    tls_functions: TlsFunctions,
) -> Result<Linked, Error> {
    let mut exports: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    for (index, module) in modules.iter().enumerate() {
        for (number, symbol) in module.dynamic.symbols.iter().enumerate() {
            if symbol.is_defined && symbol.is_exported && !symbol.name.is_empty() {
                exports.entry(symbol.name.clone()).or_default().push((index, number));
            }
        }
    }
    let mut link = Link { modules, of_cpu, blocks, tls_functions, exports, linked: Linked::default() };
    // The modules that others need come last in the list, and first here: their IFUNCs run first.
    for module in (0..link.modules.len()).rev() {
        link.relocate(module)?;
    }
    let linked = link.linked;
    for module in modules {
        let Module { unwind, eh_frame_hdr, segments, link, .. } = module;
        unwind::refresh(unwind, eh_frame_hdr, segments, link.is_some());
        if module.kind == Kind::Object {
            names::complete(module);
        }
        index::check(module);
    }
    Ok(linked)
}

/// Where a symbol of the modules is, if one of them defines it, and whether it is an IFUNC. Used from outside: any version will do.
pub(super) fn find(modules: &[Module], name: &str) -> Option<(u64, bool)> {
    for module in modules {
        let mut defined: Vec<&DynamicSymbol> = { module.dynamic.symbols.iter() }
            .filter(|symbol| symbol.is_defined && symbol.name == name && symbol.kind != SymbolKind::Tls)
            .collect();
        defined.sort_by_key(|symbol| (symbol.is_hidden, !symbol.is_exported));
        if let Some(symbol) = defined.first() {
            return Some((symbol.value, symbol.kind == SymbolKind::Indirect));
        }
        if let Some(symbol) = module.symbols.iter().find(|symbol| symbol.name == name) {
            return Some((symbol.address, false));
        }
    }
    None
}

impl Link<'_> {
    fn relocate(&mut self, index: usize) -> Result<(), Error> {
        let module = &self.modules[index];
        let (bias, relative) = (module.bias, module.dynamic.relative.clone());
        let relocations = module.dynamic.relocations.clone();
        let fail = |modules: &[Module], place: u64, reason: String| {
            let module = &modules[index];
            refused(&module.path, format!("the relocation at {:#x}: {reason}", place.wrapping_sub(module.bias)))
        };
        for place in relative {
            let value = self.modules[index].word(place).map(|value| value.wrapping_add(bias));
            let done = value.is_some_and(|value| self.modules[index].write(place, &value.to_le_bytes()));
            if !done {
                return Err(fail(self.modules, place, "it is not loaded".to_owned()));
            }
        }
        let of_cpu = self.of_cpu;
        for relocation in relocations {
            let site = Site { module: index, relocation };
            of_cpu.relocate(self, site).map_err(|reason| fail(self.modules, relocation.place, reason))?;
        }
        Ok(())
    }

    fn own(&self, module: usize, symbol: &DynamicSymbol) -> Target {
        match symbol.kind {
            SymbolKind::Tls => Target::Tls(module, symbol.value),
            SymbolKind::Indirect => Target::Indirect(symbol.value),
            SymbolKind::Data | SymbolKind::Function => Target::Address(symbol.value),
        }
    }

    /// What a symbol of a module stands for. `elsewhere` leaves out the module itself.
    fn target(&mut self, site: Site, elsewhere: bool) -> Result<Target, String> {
        let Site { module, relocation } = site;
        if relocation.symbol == 0 {
            return Ok(Target::Address(0));
        }
        let symbols = &self.modules[module].dynamic.symbols;
        let symbol = symbols.get(relocation.symbol).ok_or("it names a symbol that is not there")?;
        if symbol.is_defined && !symbol.is_exported {
            return Ok(self.own(module, symbol));
        }
        let fits = |found: &DynamicSymbol| match (&symbol.version, &found.version) {
            (Some(wanted), Some(has)) => wanted == has,
            (None, _) => !found.is_hidden,
            (Some(_), None) => true,
        };
        let candidates = self.exports.get(&symbol.name).map_or(&[][..], Vec::as_slice);
        let found = candidates.iter().find(|(other, number)| {
            (!elsewhere || *other != module) && fits(&self.modules[*other].dynamic.symbols[*number])
        });
        if let Some((other, number)) = found {
            return Ok(self.own(*other, &self.modules[*other].dynamic.symbols[*number]));
        }
        if symbol.is_defined {
            return Ok(self.own(module, symbol));
        }
        if symbol.name == "__tls_get_addr" {
            return Ok(Target::Address(self.tls_functions.get_addr)); // the dynamic loader has it, if one is loaded
        }
        if symbol.is_weak {
            return Ok(Target::Address(0));
        }
        let name = symbol.name.clone();
        let known = self.linked.missing.iter().position(|other| *other == name);
        let index = known.unwrap_or_else(|| {
            self.linked.missing.push(name);
            self.linked.missing.len() - 1
        });
        Ok(Target::Address(MISSING + PAGE * index as u64))
    }

    /// Writes bytes where the relocation says.
    pub(super) fn write(&mut self, site: Site, bytes: &[u8]) -> Result<(), String> {
        self.write_at(site.module, site.relocation.place, bytes)
    }

    fn write_at(&mut self, module: usize, place: u64, bytes: &[u8]) -> Result<(), String> {
        if self.modules[module].write(place, bytes) { Ok(()) } else { Err(format!("{place:#x} is not loaded")) }
    }

    /// The bytes where the relocation says.
    pub(super) fn read<const N: usize>(&self, site: Site) -> Result<[u8; N], String> {
        let bytes = self.modules[site.module].bytes_at(site.relocation.place);
        bytes.first_chunk().copied().ok_or_else(|| "it is not loaded".to_owned())
    }

    /// Changes an instruction of four bytes.
    pub(super) fn patch(&mut self, site: Site, change: impl FnOnce(u32) -> u32) -> Result<(), String> {
        let word = u32::from_le_bytes(self.read(site)?);
        self.write(site, &change(word).to_le_bytes())
    }

    /// The load bias of the module.
    pub(super) fn bias(&self, site: Site) -> u64 {
        self.modules[site.module].bias
    }

    /// The relocation of the same module at another place, of one of these types.
    pub(super) fn at_place(&self, site: Site, place: u64, kinds: &[u32]) -> Option<Site> {
        let all = &self.modules[site.module].dynamic.relocations;
        let found = all.iter().find(|other| other.place == place && kinds.contains(&other.kind))?;
        Some(Site { module: site.module, relocation: *found })
    }

    /// Puts the symbol's address plus the addend into a word.
    pub(super) fn word(&mut self, site: Site) -> Result<(), String> {
        match self.target(site, false)? {
            Target::Address(address) => {
                self.write(site, &address.wrapping_add_signed(site.relocation.addend).to_le_bytes())
            }
            Target::Indirect(resolver) => {
                self.linked.indirect.push((resolver, site.relocation.place));
                Ok(())
            }
            Target::Tls(..) => Err("a thread-local variable has no address".to_owned()),
        }
    }

    /// Puts the result of the function that the addend names into a word.
    pub(super) fn indirect(&mut self, site: Site) {
        let resolver = self.bias(site).wrapping_add_signed(site.relocation.addend);
        self.linked.indirect.push((resolver, site.relocation.place));
    }

    /// Copies the variable of another module.
    pub(super) fn copy(&mut self, site: Site) -> Result<(), String> {
        let size =
            self.modules[site.module].dynamic.symbols.get(site.relocation.symbol).map_or(0, |symbol| symbol.size);
        let Target::Address(from) = self.target(site, true)? else {
            return Err("what it copies is no data".to_owned());
        };
        let bytes =
            self.modules.iter().find_map(|module| module.bytes_at(from).get(..size as usize)).map(<[u8]>::to_vec);
        // What is missing cannot be copied: it stays zero.
        bytes.map_or(Ok(()), |bytes| self.write(site, &bytes))
    }

    /// The address of the symbol, for code: of a function that is not known yet, its stub.
    pub(super) fn address(&mut self, site: Site) -> Result<u64, String> {
        match self.target(site, false)? {
            Target::Address(address) => Ok(address),
            Target::Indirect(_) => self.stub(site),
            Target::Tls(..) => Err("a thread-local variable has no address".to_owned()),
        }
    }

    /// The address of a word with the symbol's address, in an object.
    pub(super) fn slot(&mut self, site: Site) -> Result<u64, String> {
        let link = self.modules[site.module].link.ok_or("only objects have such relocations")?;
        let place = link.addresses + 8 * site.relocation.symbol as u64;
        let relocation = Relocation { place, addend: 0, ..site.relocation };
        let is_known = self.linked.indirect.iter().any(|(_, word)| *word == place);
        if !is_known {
            self.word(Site { relocation, ..site })?;
        }
        Ok(place)
    }

    /// The address of code that jumps to the symbol, in an object.
    pub(super) fn stub(&mut self, site: Site) -> Result<u64, String> {
        let link = self.modules[site.module].link.ok_or("only objects have such relocations")?;
        let slot = self.slot(site)?;
        let at = link.stubs + STUB_SIZE * site.relocation.symbol as u64;
        let code = self.of_cpu.stub(at, slot);
        self.write_at(site.module, at, &code)?;
        let module = &mut self.modules[site.module];
        if !module.symbols.iter().any(|symbol| symbol.address == at) {
            let name = module.dynamic.symbols.get(site.relocation.symbol).map_or("", |symbol| &symbol.name);
            let name = format!("{name}@stub");
            let symbol = names::named(name, (at, STUB_SIZE), SymbolKind::Function, false);
            module.symbols.push(symbol);
        }
        Ok(at)
    }

    /// The module of a thread-local variable, and its offset in the module's block, with the addend.
    pub(super) fn tls(&mut self, site: Site) -> Result<(usize, u64), String> {
        match self.target(site, false)? {
            Target::Tls(module, offset) => Ok((module, offset.wrapping_add_signed(site.relocation.addend))),
            // Without a symbol it is the module's own block.
            Target::Address(0) => Ok((site.module, site.relocation.addend.cast_unsigned())),
            // Nobody knows its offset. A linked file is not refused for what it may never use.
            Target::Address(_) if self.modules[site.module].kind != Kind::Object => Ok((site.module, NOWHERE)),
            Target::Address(address) => {
                let name = self.linked.missing.get((address.wrapping_sub(MISSING) / PAGE) as usize);
                let name = name.cloned().unwrap_or_default();
                Err(format!("no file defines the thread-local variable {name}: name its library with --lib"))
            }
            Target::Indirect(_) => Err("a function is no thread-local variable".to_owned()),
        }
    }

    /// The offset of a thread-local variable from the thread pointer.
    pub(super) fn thread_offset(&mut self, site: Site) -> Result<u64, String> {
        let (module, offset) = self.tls(site)?;
        if offset == NOWHERE {
            return Ok(NOWHERE);
        }
        let block = self.blocks.get(module).copied().flatten().ok_or("its module has no thread-local variables")?;
        Ok(block.wrapping_add(offset))
    }

    /// The address of a word with the offset of a thread-local variable from the thread pointer, in an object.
    pub(super) fn thread_slot(&mut self, site: Site) -> Result<u64, String> {
        let relocation = Relocation { addend: 0, ..site.relocation };
        let value = self.thread_offset(Site { relocation, ..site })?;
        let place = self.tls_table(site)?;
        self.write_at(site.module, place, &value.to_le_bytes())?;
        Ok(place)
    }

    /// The address of a pair of words as `__tls_get_addr` takes it, in an object. `bias` is what it adds to the offset.
    pub(super) fn tls_pair(&mut self, site: Site, bias: u64) -> Result<u64, String> {
        let relocation = Relocation { addend: 0, ..site.relocation };
        let (module, offset) = self.tls(Site { relocation, ..site })?;
        let place = self.tls_table(site)? + 16;
        self.write_at(site.module, place, &(module as u64 + 1).to_le_bytes())?;
        self.write_at(site.module, place + 8, &offset.wrapping_sub(bias).to_le_bytes())?;
        Ok(place)
    }

    /// The address of a TLS descriptor, in an object.
    pub(super) fn tls_descriptor_slot(&mut self, site: Site) -> Result<u64, String> {
        let place = self.tls_table(site)? + 16;
        let relocation = Relocation { place, addend: 0, ..site.relocation };
        self.tls_descriptor(Site { relocation, ..site })?;
        Ok(place)
    }

    fn tls_table(&self, site: Site) -> Result<u64, String> {
        let link = self.modules[site.module].link.ok_or("only objects have such relocations")?;
        Ok(link.tls + 32 * site.relocation.symbol as u64)
    }

    /// Writes a TLS descriptor: a function of ours, and the offset from the thread pointer.
    pub(super) fn tls_descriptor(&mut self, site: Site) -> Result<(), String> {
        let offset = self.thread_offset(site)?;
        self.write(site, &self.tls_functions.descriptor.to_le_bytes())?;
        self.write_at(site.module, site.relocation.place + 8, &offset.to_le_bytes())
    }
}

/// A number as a signed one of so many bits, if it fits.
pub(super) fn signed(value: u64, bits: u32) -> Result<i64, String> {
    let value = value.cast_signed();
    let kept = value << (64 - bits) >> (64 - bits);
    if kept == value { Ok(value) } else { Err(format!("{value:#x} does not fit into {bits} bits: it is too far away")) }
}

//! The files that a boot loader loads, down to the kernel's bytes at the addresses for which it was linked.

mod arm64;
mod elf;
mod pe;
mod relocations;
mod riscv64;
mod x86_64;

use super::decompress::Format;
use crate::cpu::{self, Cpu};
use crate::guest::Symbol;

/// The most bytes that an unpacked kernel may have, in a file or in memory. A `vmlinux` with debugging data has 422 MB.
pub(super) const MAX_IMAGE: u64 = 1 << 29;

/// How many wrappings may lie around a kernel: a compressed EFI application that holds a compressed image is two.
const MAX_WRAPPINGS: usize = 4;

/// A range of the kernel's memory as it is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The address of the first byte.
    pub address: u64,
    /// What the file holds.
    pub data: Vec<u8>,
    /// The size in memory, in bytes, at least that of the data: the rest is zero (.bss).
    pub memory_size: u64,
}

impl Load {
    /// A range; an error says why its size is impossible.
    fn new(address: u64, data: Vec<u8>, memory_size: u64) -> Result<Self, String> {
        let size = memory_size.max(data.len() as u64);
        if size > MAX_IMAGE || address.checked_add(size).is_none() {
            return Err(format!("the load at {address:#x} has an impossible size of {size:#x}"));
        }
        Ok(Self { address, data, memory_size: size })
    }

    /// The address after its last byte in memory.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.address + self.memory_size
    }
}

/// A kernel out of its wrappings.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) format: &'static BootFormat,
    /// What was taken off, outermost first: `bzImage (zstd)`, `ELF`.
    pub(super) wrappings: Vec<String>,
    /// The link address of the image's first byte.
    pub(super) base: u64,
    /// By address, disjoint.
    pub(super) loads: Vec<Load>,
    /// Symbols of an ELF file: empty where it has none.
    pub(super) symbols: Vec<Symbol>,
    /// What was done to dynamic relocations.
    pub(super) relocations: String,
}

/// Something that an image may lack.
#[derive(Debug)]
pub(super) struct Feature {
    /// Its name.
    pub(super) name: &'static str,
    /// Symbols of which one is there when it is.
    pub(super) needs: &'static [&'static str],
    /// What cannot be done without.
    pub(super) lost: &'static str,
}

/// A CPU's kernels, as data.
pub(super) struct BootFormat {
    /// `e_machine` of its ELF files.
    machine: u16,
    /// Recognises a file that the CPU's boot loaders load, and says what is in it.
    open: fn(&[u8]) -> Option<Result<Opened, String>>,
    /// Where a raw image may be linked, the most frequent first.
    bases: &'static [u64],
    /// The `r_info` of a relocation that says "this address plus the load offset", where the linker leaves the words empty.
    relative: Option<u64>,
    /// What its kernels may lack beside what any may.
    pub(super) features: &'static [Feature],
}

/// A wrapping that was opened.
enum Opened {
    /// Another file is inside: its bytes, and what the wrapping is called.
    Inside(String, Vec<u8>),
    /// The kernel's own bytes from its base on, and its size in memory.
    Raw(&'static str, Vec<u8>, u64),
}

static FORMATS: [&BootFormat; 3] = [&arm64::FORMAT, &riscv64::FORMAT, &x86_64::FORMAT];

impl std::fmt::Debug for BootFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BootFormat").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl BootFormat {
    pub(super) fn cpu(&self) -> Result<&'static Cpu, String> {
        let cpu = cpu::ALL.iter().find(|cpu| cpu.elf_machine == self.machine);
        cpu.copied().ok_or_else(|| format!("no CPU has e_machine {}", self.machine))
    }
}

/// Whether these first bytes of a file are those of something that [`unwrap`] opens. A bzImage says so at 0x202.
pub(super) fn is_known(head: &[u8]) -> bool {
    head.starts_with(elf::MAGIC)
        || Format::of(head).is_some()
        || pe::zboot(head).is_some()
        || FORMATS.iter().any(|format| (format.open)(head).is_some())
}

/// Takes a kernel out of everything around it.
pub(super) fn unwrap(file: Vec<u8>) -> Result<Kernel, String> {
    let mut wrappings = Vec::new();
    let mut data = file;
    loop {
        if wrappings.len() > MAX_WRAPPINGS {
            return Err(format!("it is wrapped more than {MAX_WRAPPINGS} times: {}", wrappings.join(", ")));
        }
        let within = |reason: String| match wrappings.last() {
            Some(outer) => format!("inside of {outer}: {reason}"),
            None => reason,
        };
        if data.starts_with(elf::MAGIC) {
            let (machine, loads, symbols) = elf::read(&data).map_err(within)?;
            let format = FORMATS.iter().find(|format| format.machine == machine);
            let format = *format.ok_or_else(|| within(format!("it is an ELF file for e_machine {machine}")))?;
            wrappings.push("ELF".to_owned());
            let base = kernel_base(&loads).ok_or("it loads nothing at a kernel's addresses")?;
            return relocated(Kernel { format, wrappings, base, loads, symbols, relocations: String::new() });
        }
        if let Some(compressed) = Format::of(&data) {
            data = compressed.decode(&data, MAX_IMAGE).map_err(within)?;
            wrappings.push(compressed.name().to_owned());
            continue;
        }
        if let Some(zboot) = pe::zboot(&data) {
            let (name, inside) = zboot.map_err(within)?;
            data = inside;
            wrappings.push(name);
            continue;
        }
        let opened = FORMATS.iter().find_map(|format| Some((*format, (format.open)(&data)?)));
        match opened {
            None => return Err(within(unknown(&data))),
            Some((_, Err(reason))) => return Err(within(reason)),
            Some((_, Ok(Opened::Inside(name, inside)))) => {
                data = inside;
                wrappings.push(name);
            }
            Some((format, Ok(Opened::Raw(name, data, memory_size)))) => {
                let base = linked_at(format.bases, &data, memory_size).map_err(&within)?;
                let loads = vec![Load::new(base, data, memory_size).map_err(&within)?];
                wrappings.push(name.to_owned());
                let symbols = Vec::new();
                return relocated(Kernel { format, wrappings, base, loads, symbols, relocations: String::new() });
            }
        }
    }
}

fn relocated(mut kernel: Kernel) -> Result<Kernel, String> {
    kernel.relocations = match kernel.format.relative {
        Some(relative) => relocations::apply(&mut kernel.loads, relative),
        None => "final in the file".to_owned(),
    };
    Ok(kernel)
}

/// Names a file that is none of ours.
fn unknown(data: &[u8]) -> String {
    let magic: String = data.iter().take(8).map(|byte| format!("{byte:02x} ")).collect();
    let is = match data {
        [] => "it is empty".to_owned(),
        [b'M', b'Z', ..] => "it is an EFI application for another CPU, or none that boots Linux".to_owned(),
        _ => format!("its first bytes, {}, are those of no such file", magic.trim_end()),
    };
    format!("{is}; known are a Debian package, an arm64 or riscv64 Image, an x86-64 bzImage, and an ELF vmlinux")
}

/// The lowest address in the upper half of the address space.
fn kernel_base(loads: &[Load]) -> Option<u64> {
    loads.iter().map(|load| load.address).find(|address| *address >> 63 == 1)
}

/// Where a raw image is linked: that of the possible bases into whose image the most words point. A kernel holds a hundred thousand
/// pointers to itself; a wrong base finds next to none.
fn linked_at(bases: &[u64], data: &[u8], memory_size: u64) -> Result<u64, String> {
    let count = |base: u64| {
        let words = data.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        words.filter(|word| word.wrapping_sub(base) < memory_size).count()
    };
    match bases {
        [only] => Ok(*only),
        _ => {
            let best = bases.iter().map(|base| (count(*base), std::cmp::Reverse(*base))).max();
            let found = best.filter(|(pointers, _)| *pointers > 0).map(|(_, base)| base.0);
            found.ok_or_else(|| "it points nowhere into itself, so its link address is unknown".to_owned())
        }
    }
}

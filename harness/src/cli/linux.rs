//! `list --linux`: what is in an image.

use std::io::{self, Write};
use std::path::Path;

use super::{HOLDS, USAGE};
use crate::error::printed;
use crate::file::Console;
use crate::linux::{AddressFormat, Btf, KernelImage, Member, SymbolSource, list};
use crate::{Error, cpu};

/// What to print of each image instead of the summary.
pub(super) struct Asked<'a> {
    pub(super) symbols: &'a [String],
    pub(super) types: &'a [String],
}

/// Prints what is in an image, or in all of a folder, for this CPU or for all.
pub(super) fn execute(
    path: &Path,
    arch: Option<&str>,
    asked: &Asked<'_>,
    console: &mut Console<'_>,
) -> Result<u8, Error> {
    if let Some(arch) = arch
        && cpu::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
    }
    let listing = list(path)?;
    let mut status = HOLDS;
    for (index, path) in listing.images.iter().enumerate() {
        if console.interrupt.is_asked() {
            return Err(Error::Interrupted);
        }
        let image = match KernelImage::open(path) {
            // The others of a folder are still shown.
            Err(error) if listing.images.len() > 1 => {
                printed(writeln!(console.err, "error: {error}"))?;
                status = USAGE;
                continue;
            }
            image => image?,
        };
        if arch.is_some_and(|arch| arch != image.cpu.name) {
            continue;
        }
        let separated = if index > 0 { writeln!(console.out) } else { Ok(()) };
        printed(separated.and_then(|()| write!(console.out, "{}", heading(&image))))?;
        if asked.symbols.is_empty() && asked.types.is_empty() {
            printed(summary(&image, console.out))?;
        }
        for name in asked.symbols {
            printed(symbols(&image, name, console.out))?;
        }
        for name in asked.types {
            let lines = layout(image.types()?, name);
            let lines = lines.map_err(|reason| Error::Linux { path: image.path.clone(), reason })?;
            printed(lines.iter().try_for_each(|line| writeln!(console.out, "{line}")))?;
        }
    }
    for other in &listing.others {
        printed(writeln!(console.err, "{}: not a kernel image, left alone", other.display()))?;
    }
    Ok(status)
}

fn heading(image: &KernelImage) -> String {
    format!("{} ({}), {}\n", image.release, image.cpu.name, image.path.display())
}

/// Fewer than 20 lines.
fn summary(image: &KernelImage, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<12}{value}");
    line("version", image.banner.rsplit_once(") ").map_or(&image.banner, |(_, version)| version))?;
    line("build id", image.build_id.as_deref().unwrap_or("none"))?;
    if let Some(hash) = &image.package_hash {
        line("package", hash)?;
    }
    line("image", &format!("{}{}", image.hash, image.member.as_ref().map_or(String::new(), |it| format!("  {it}"))))?;
    line("wrappings", &image.wrappings.join(", "))?;
    let loads = image.loads.iter().map(|load| format!("{:#x} ({})", load.address, mebibytes(load.memory_size)));
    line("loads", &loads.collect::<Vec<_>>().join(", "))?;
    line("relocations", &image.relocations)?;
    let source = match image.symbols.source() {
        SymbolSource::Elf => "ELF symbol table".to_owned(),
        SymbolSource::Kallsyms(AddressFormat::SelfRelative) => {
            "kallsyms, relative to itself; sizes inferred".to_owned()
        }
        SymbolSource::Kallsyms(AddressFormat::BaseRelative(base)) => {
            format!("kallsyms, relative to {base:#x}; sizes inferred")
        }
        SymbolSource::Kallsyms(AddressFormat::AbsolutePerCpu(base)) => {
            format!("kallsyms, relative to {base:#x}, per-CPU absolute; sizes inferred")
        }
    };
    let all = image.symbols.all();
    let functions = all.iter().filter(|symbol| symbol.is_function).count();
    line("symbols", &format!("{}, {functions} of them functions ({source})", all.len()))?;
    line("types", &image.btf.as_ref().map_or_else(Clone::clone, |btf| format!("{} (BTF)", btf.count())))?;
    let config = image.config.as_ref();
    line("config", &config.map_or("unknown".to_owned(), |it| format!("{} options ({})", it.len(), it.source)))?;
    image.lacks.iter().try_for_each(|lack| line("lacks", &lack.to_string()))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// The symbols of a name, or those at an address.
fn symbols(image: &KernelImage, name: &str, out: &mut dyn Write) -> io::Result<()> {
    let address = name.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if let Some(address) = address {
        return writeln!(out, "  {address:#x} {}", image.symbols.name(address));
    }
    let mut found = false;
    for symbol in image.symbols.named(name) {
        found = true;
        let kind = if symbol.is_function { "function" } else { "data" };
        let inferred = if symbol.is_size_inferred { " at most" } else { "" };
        writeln!(out, "  {:#x} {name}: {kind},{inferred} {:#x} bytes", symbol.address, symbol.size)?;
    }
    if let Some(value) = image.symbols.absolute(name) {
        found = true;
        writeln!(out, "  {value:#x} {name}: absolute")?;
    }
    if found { Ok(()) } else { writeln!(out, "  {name}: no such symbol") }
}

/// The size of a type and its fields, or the place of one field and the fields in it.
fn layout(types: &Btf, name: &str) -> Result<Vec<String>, String> {
    let (type_name, path) = name.split_once('.').map_or((name, None), |(name, path)| (name, Some(path)));
    let mut lines = match path {
        None => vec![format!("  {type_name}: {} bytes", types.size(type_name)?)],
        Some(path) => vec![format!("  {}", field(&format!("{type_name}.{path}"), &types.member(type_name, path)?))],
    };
    // A field that is no struct has no fields.
    if let Ok(members) = types.members(type_name, path) {
        lines.extend(members.iter().map(|(name, member)| format!("    {}", field(name, member))));
    }
    Ok(lines)
}

fn field(name: &str, member: &Member) -> String {
    let bits = member.bits.as_ref().map_or(String::new(), |bits| format!(" bits {}..{}", bits.start, bits.end));
    format!("{:#06x}{bits} {name}: {}, {} bytes", member.offset, member.type_name, member.size)
}

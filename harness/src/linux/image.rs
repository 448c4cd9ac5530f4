//! A kernel image, ready to be put into memory and asked.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::boot::{self, Kernel, Load};
use super::btf::{self, Btf, Member};
use super::bytes::{find, slice, string_at, u32_at};
use super::config::Config;
use super::data;
use super::features::{self, Lack};
use super::kallsyms;
use super::package::{self, KernelFile};
use super::refused;
use super::symbols::KernelSymbols;
use crate::cpu::Cpu;
use crate::guest::Symbol;
use crate::{Error, file};

/// A kernel image.
#[derive(Debug)]
pub struct KernelImage {
    /// The file it came from: a package, or the image itself.
    pub path: PathBuf,
    /// Its path within the package, if it came in one.
    pub member: Option<String>,
    /// SHA-256 of the package, in lower-case hexadecimal digits.
    pub package_hash: Option<String>,
    /// SHA-256 of the image as it lies on a disk (`vmlinuz`), in lower-case hexadecimal digits.
    pub hash: String,
    /// What was taken off to get at the kernel, outermost first.
    pub wrappings: Vec<String>,
    /// The CPU it runs on.
    pub cpu: &'static Cpu,
    /// The release (`uname -r`): `7.3.4+deb13-cloud-...`.
    pub release: String,
    /// The whole of `linux_banner`, without its newline.
    pub banner: String,
    /// The GNU build id, in lower-case hexadecimal digits.
    pub build_id: Option<String>,
    /// The link address of the image's first byte.
    pub base: u64,
    /// Its memory, by address, disjoint. Beyond each load's data it is zero.
    pub loads: Vec<Load>,
    /// What was done to dynamic relocations, in words.
    pub relocations: String,
    /// Its symbols.
    pub symbols: KernelSymbols,
    /// Its types, or why it has none.
    pub btf: Result<Btf, String>,
    /// Its configuration, if the image or a file beside it holds one.
    pub config: Option<Config>,
    /// What it lacks, and what that costs.
    pub lacks: Vec<Lack>,
}

impl KernelImage {
    /// Reads a package, a boot file or a `vmlinux`.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read; [`Error::Linux`] when it holds no kernel of one of our CPUs, is damaged, or has no
    /// symbols.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = package::read(path)?;
        let mut image = Self::of_file(path, file).map_err(|reason| refused(path, reason))?;
        if image.config.is_none() {
            image.config = beside(path, &image.release)?;
        }
        Ok(image)
    }

    /// Reads the bytes of a boot file or a `vmlinux`; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Linux`].
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let file = KernelFile { member: None, bytes, config: None, package_hash: None };
        Self::of_file(path, file).map_err(|reason| refused(path, reason))
    }

    fn of_file(path: &Path, file: KernelFile) -> Result<Self, String> {
        let KernelFile { member, bytes, config, package_hash } = file;
        let hash = package::hex(&Sha256::digest(&bytes));
        let Kernel { format, wrappings, base, loads, symbols, relocations } = boot::unwrap(bytes)?;
        let symbols = if symbols.is_empty() {
            let first = loads.iter().find(|load| load.address == base).ok_or("nothing is loaded at its base")?;
            KernelSymbols::of_kallsyms(kallsyms::decode(&first.data, base)?, &loads)
        } else {
            KernelSymbols::of_elf(symbols, &loads)
        };
        let config = match config {
            Some((source, text)) => Some(Config::parse(source, &text)),
            None => loads.iter().find_map(|load| Config::within(&load.data).transpose()).transpose()?,
        };
        let mut image = Self {
            path: path.to_path_buf(),
            member,
            package_hash,
            hash,
            wrappings,
            cpu: format.cpu()?,
            release: String::new(),
            banner: String::new(),
            build_id: None,
            base,
            loads,
            relocations,
            lacks: Vec::new(),
            symbols,
            btf: Err(String::new()),
            config,
        };
        (image.release, image.banner) = image.find_release()?;
        image.build_id = image.find_build_id();
        image.btf = image.find_btf();
        let told = if image.symbols.has("init_task") { Vec::new() } else { image.told_by_code() };
        image.lacks = features::lacks(&image.symbols, format.features, &told);
        image.symbols = image.symbols.with_data(told, &image.loads);
        if let Err(reason) = &image.btf {
            let lost = "no layout is known, so nothing can be run";
            image.lacks.push(Lack { feature: "types", reason: reason.clone(), lost });
        }
        Ok(image)
    }

    /// Places of data as the code shows them, or why it does not: for images whose own table names functions alone. Empty for CPUs
    /// whose code is not read.
    #[must_use]
    pub fn told_by_code(&self) -> Vec<(&'static str, Result<u64, String>)> {
        data::places(self)
    }

    /// The bytes from an address to the end of what the file holds there; empty elsewhere, and in .bss.
    #[must_use]
    pub fn bytes_at(&self, address: u64) -> &[u8] {
        let load = self.loads.iter().find(|load| (load.address..load.end()).contains(&address));
        load.and_then(|load| load.data.get((address - load.address) as usize..)).unwrap_or_default()
    }

    /// Fills a buffer from an address on, .bss as zeros; `None` when it leaves the load.
    #[must_use]
    pub fn read(&self, address: u64, into: &mut [u8]) -> Option<()> {
        let load = self.loads.iter().find(|load| (load.address..load.end()).contains(&address))?;
        if into.len() as u64 > load.end() - address {
            return None;
        }
        let bytes = self.bytes_at(address);
        let from_file = bytes.len().min(into.len());
        into[..from_file].copy_from_slice(&bytes[..from_file]);
        into[from_file..].fill(0);
        Some(())
    }

    /// The word at an address, as it is linked.
    #[must_use]
    pub fn u64_at(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Some(u64::from_le_bytes(word))
    }

    /// The size of its memory in bytes, .bss included.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.loads.iter().map(|load| load.memory_size).sum()
    }

    /// The symbol of a name that has one address alone.
    ///
    /// # Errors
    ///
    /// [`Error::Linux`] when there is none, or when it is ambiguous.
    pub fn symbol(&self, name: &str) -> Result<&Symbol, Error> {
        self.symbols.unique(name).map_err(|reason| refused(&self.path, reason))
    }

    /// The address of a name that has one alone.
    ///
    /// # Errors
    ///
    /// As [`KernelImage::symbol`].
    pub fn address(&self, name: &str) -> Result<u64, Error> {
        self.symbol(name).map(|symbol| symbol.address)
    }

    /// The types.
    ///
    /// # Errors
    ///
    /// [`Error::Linux`] when the image has none.
    pub fn types(&self) -> Result<&Btf, Error> {
        self.btf.as_ref().map_err(|reason| refused(&self.path, reason.clone()))
    }

    /// A field: `member("task_struct", "thread.cpu_context.pc")`.
    ///
    /// # Errors
    ///
    /// [`Error::Linux`] when the image has no types, or not this field.
    pub fn member(&self, type_name: &str, path: &str) -> Result<Member, Error> {
        self.types()?.member(type_name, path).map_err(|reason| refused(&self.path, reason))
    }

    /// The offset of a field in bytes.
    ///
    /// # Errors
    ///
    /// As [`KernelImage::member`], and for a bit field.
    pub fn offset(&self, type_name: &str, path: &str) -> Result<u64, Error> {
        self.types()?.offset(type_name, path).map_err(|reason| refused(&self.path, reason))
    }

    /// The size of a type in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Linux`] when the image has no types, or not this one.
    pub fn size(&self, type_name: &str) -> Result<u64, Error> {
        self.types()?.size(type_name).map_err(|reason| refused(&self.path, reason))
    }

    /// The release and the banner (init/version-timestamp.c).
    fn find_release(&self) -> Result<(String, String), String> {
        const BEGIN: &[u8] = b"Linux version ";
        let named = self.symbols.address("linux_banner").ok().map(|address| self.bytes_at(address));
        let banner = match named {
            Some(bytes) => string_at(bytes, 0),
            None => self.loads.iter().find_map(|load| string_at(&load.data, find(&load.data, BEGIN, 0)?)),
        };
        let banner = String::from_utf8_lossy(banner.unwrap_or_default()).trim_end().to_owned();
        match banner.strip_prefix("Linux version ").and_then(|rest| rest.split(' ').next()) {
            Some(release) if !release.is_empty() && banner.len() <= 1024 => Ok((release.to_owned(), banner)),
            _ => Err("it does not say its version (linux_banner)".to_owned()),
        }
    }

    /// The descriptor of the note `GNU`, type 3, among the kernel's notes: its vDSOs have notes of their own.
    fn find_build_id(&self) -> Option<String> {
        let (start, end) = (self.symbols.address("__start_notes").ok()?, self.symbols.address("__stop_notes").ok()?);
        let notes = slice(self.bytes_at(start), 0, usize::try_from(end.checked_sub(start)?).ok()?)?;
        let mut at = 0;
        loop {
            let (name, size) = (u32_at(notes, at)? as usize, u32_at(notes, at + 4)? as usize);
            let kind = u32_at(notes, at + 8)?;
            let descriptor = (at + 12).checked_add(name)?.checked_next_multiple_of(4)?;
            let bytes = slice(notes, descriptor, size)?;
            if kind == 3 && slice(notes, at + 12, name)? == b"GNU\0" {
                return Some(package::hex(bytes));
            }
            at = descriptor.checked_add(size)?.checked_next_multiple_of(4)?;
        }
    }

    fn find_btf(&self) -> Result<Btf, String> {
        let none = || "it has no BTF (CONFIG_DEBUG_INFO_BTF is off)".to_owned();
        let ends = (self.symbols.address("__start_BTF"), self.symbols.address("__stop_BTF"));
        if let (Ok(start), Ok(end)) = ends {
            let size = usize::try_from(end.saturating_sub(start)).map_err(|_| none())?;
            if size == 0 {
                return Err(none());
            }
            let bytes = slice(self.bytes_at(start), 0, size).ok_or("its BTF lies outside of the image")?;
            return Btf::parse(bytes);
        }
        let mut problem = none();
        for load in &self.loads {
            let mut from = 0;
            while let Some(at) = find(&load.data, &btf::MAGIC, from) {
                from = at + 1;
                match Btf::parse(&load.data[at..]) {
                    Ok(btf) if btf.count() > 0 => return Ok(btf),
                    Ok(_) => {}
                    Err(reason) => problem = reason,
                }
            }
        }
        Err(problem)
    }
}

/// The file `config-RELEASE` in the image's folder.
fn beside(path: &Path, release: &str) -> Result<Option<Config>, Error> {
    // A release with a slash would name another folder.
    if release.contains('/') {
        return Ok(None);
    }
    let config = path.with_file_name(format!("config-{release}"));
    if !config.is_file() {
        return Ok(None);
    }
    let text = file::read_text(&config)?;
    Ok(Some(Config::parse(config.display().to_string(), &text)))
}

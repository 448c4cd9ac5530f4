//! Files that hold a kernel, and folders of them.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::archive::{self, Visit};
use super::boot::{self, MAX_IMAGE};
use super::config::MAX_CONFIG;
use super::refused;
use crate::{Error, file};

/// How much of a file says what it is, in bytes: a bzImage has its magic at 0x202.
const HEAD: usize = 0x400;

/// The file of a kernel, as it lay on the disk or in a package.
#[derive(Debug)]
pub(super) struct KernelFile {
    /// Its path within the package, if it came in one.
    pub(super) member: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// The configuration that lay beside it in the package, and its path.
    pub(super) config: Option<(String, String)>,
    /// SHA-256 of the package.
    pub(super) package_hash: Option<String>,
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files that look like a kernel or a package, by name.
    pub images: Vec<PathBuf>,
    /// Other files, which are left alone.
    pub others: Vec<PathBuf>,
}

/// Lists the images of a path: the file itself, or of a folder all files that look like one. Hidden files and folders within are
/// not looked at.
///
/// # Errors
///
/// [`Error::File`] when it cannot be read, [`Error::Linux`] for a folder that holds no image.
pub fn list(path: &Path) -> Result<Listing, Error> {
    let failed = |source| Error::File { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(Listing { images: vec![path.to_path_buf()], others: Vec::new() });
    }
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let found = entry.map_err(failed)?.path();
        let is_hidden = found.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden || !found.is_file() {
            continue;
        }
        let head = head(&mut file::open(&found)?.0, &found)?;
        let is_image = head.starts_with(archive::MAGIC) || boot::is_known(&head);
        if is_image { &mut listing.images } else { &mut listing.others }.push(found);
    }
    listing.images.sort();
    listing.others.sort();
    if listing.images.is_empty() {
        return Err(refused(
            path,
            "the folder holds no kernel image; `.ci/linux` fetches some into target/linux".to_owned(),
        ));
    }
    Ok(listing)
}

fn head(file: &mut File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let read = file.take(HEAD as u64).read_to_end(&mut head).and_then(|_| file.rewind());
    read.map_err(|source| Error::File { path: path.to_path_buf(), source })?;
    Ok(head)
}

/// Reads the kernel's file: itself, or the one in a package.
pub(super) fn read(path: &Path) -> Result<KernelFile, Error> {
    let (mut file, _) = file::open(path)?;
    if !head(&mut file, path)?.starts_with(archive::MAGIC) {
        let bytes = file::read(path, MAX_IMAGE)?;
        return Ok(KernelFile { member: None, bytes, config: None, package_hash: None });
    }
    let failed = |source| Error::File { path: path.to_path_buf(), source };
    let package_hash = Some(hash(&mut file).and_then(|hash| file.rewind().map(|()| hash)).map_err(failed)?);
    let found =
        archive::data_of_deb(file).and_then(|mut tar| member(&mut *tar)).map_err(|reason| refused(path, reason))?;
    Ok(KernelFile { package_hash, ..found })
}

fn hash(file: &mut File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this path of a package is a kernel's: where Debian and its kernel's own `deb-pkg` put it.
fn is_kernel(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match folder {
        "boot" | "usr/lib/debug/boot" => name.starts_with("vmlinuz-") || name.starts_with("vmlinux-"),
        _ => {
            let within = folder.rsplit_once('/').map(|(within, _release)| within);
            match within {
                Some("lib/modules" | "usr/lib/modules") => matches!(name, "vmlinuz" | "Image" | "vmlinux"),
                Some("usr/lib/debug/lib/modules" | "usr/lib/debug/usr/lib/modules") => name == "vmlinux",
                _ => false,
            }
        }
    }
}

/// The configuration is in the kernel's folder.
fn is_config(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    path.starts_with("boot/config-") || (path.starts_with("usr/lib/modules/") && name == "config")
}

/// The kernel of a package's files, and its configuration.
fn member(tar: &mut dyn std::io::Read) -> Result<KernelFile, String> {
    let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let (mut kernel, mut config) = (None::<(String, Vec<u8>)>, None);
    archive::files_of_tar(tar, &mut |mut entry| {
        if is_config(&entry.path) {
            let text = String::from_utf8_lossy(&entry.read(MAX_CONFIG)?).into_owned();
            config = Some((entry.path, text));
        } else if is_kernel(&entry.path) {
            if let Some((first, _)) = &kernel {
                return Err(format!("it holds two kernels, {first} and {}: unpack the one that is meant", entry.path));
            }
            let bytes = entry.read(MAX_IMAGE)?;
            kernel = Some((entry.path, bytes));
        } else if kernel.as_ref().is_some_and(|(path, _)| folder(path) != folder(&entry.path)) {
            // Behind the kernel's folder come its modules: a gigabyte.
            return Ok(Visit::Enough);
        }
        Ok(Visit::More)
    })?;
    let (member, bytes) = kernel.ok_or(
        "the package holds no kernel: a linux-binary-* or linux-image-* package does, but neither linux-image-amd64 and the like, \
         which only depend on one, nor linux-modules-*",
    )?;
    Ok(KernelFile { member: Some(member), bytes, config, package_hash: None })
}

//! The bytes of one function, of a guest or of an image.

use std::collections::BTreeSet;

use super::steps::{Reached, steps};
use crate::Error;
use crate::cpu::FlowKind;
use crate::guest::Guest;
use crate::linux::KernelImage;

/// How many labels of the image's own may lie within a function, and how many bytes it may have.
const MOST: (usize, usize) = (64, 8192);

/// One function.
pub struct Code<'a> {
    /// Its address.
    pub start: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The name of an address outside.
    pub name_of: Box<dyn Fn(u64) -> String + 'a>,
}

impl std::fmt::Debug for Code<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Code")
            .field("start", &self.start)
            .field("size", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Where a function of an image ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// At the next symbol, although control seems to go on.
    pub is_alone: bool,
    /// Not at these labels.
    pub inner: &'a [String],
}

/// A function of an image.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its name there; the first of those that were looked for, if it has none of them.
    pub name: String,
    /// Its parts; none if it is not there.
    pub parts: Vec<Code<'a>>,
}

impl<'a> Code<'a> {
    /// A guest's function, or a part of it: `vectors+5/16`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`].
    pub fn of_guest(guest: &'a Guest, name: &str) -> Result<Self, Error> {
        let (name, part) = part(name);
        let function = guest.function(name)?;
        let bytes = guest.bytes_at(function.address);
        let bytes = &bytes[..bytes.len().min(function.size as usize)];
        let (offset, bytes) = part.map_or((0, bytes), |part| part.of(bytes));
        let name_of = Box::new(|address| guest.symbols.name(address).trim_end_matches("+0x0").to_owned());
        Ok(Self { start: function.address + offset, bytes, name_of })
    }

    /// An image's function, the first of these that it has; what follows a name after a blank are further parts of it.
    /// `preferred` are names that an address shall have rather than its others.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when capstone cannot be set up.
    pub fn of_image(
        image: &'a KernelImage,
        names: &[String],
        limits: Limits<'_>,
        preferred: &'a BTreeSet<String>,
    ) -> Result<Found<'a>, Error> {
        let first = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
        let is_there = |name: &&String| name.split(' ').all(|name| image.symbols.unique(part(name).0).is_ok());
        let Some(found) = names.iter().find(is_there) else {
            return Ok(Found { name: names.first().map(|name| first(name)).unwrap_or_default(), parts: Vec::new() });
        };
        let parts = found.split(' ').map(|name| Self::part_of_image(image, name, limits, preferred));
        Ok(Found { name: first(found), parts: parts.collect::<Result<_, _>>()? })
    }

    /// A size that was inferred ends at the next symbol, which may be a label in the middle: within its limits, the function
    /// goes on as long as control can reach what follows.
    fn part_of_image(
        image: &'a KernelImage,
        name: &str,
        limits: Limits<'_>,
        preferred: &'a BTreeSet<String>,
    ) -> Result<Self, Error> {
        let (name, part) = part(name);
        let symbol = image.symbol(name)?;
        let all = image.bytes_at(symbol.address);
        let mut size = all.len().min(symbol.size as usize);
        if symbol.is_size_inferred && part.is_none() && !limits.is_alone {
            for _ in 0..MOST.0 {
                if !goes_on(image, symbol.address, &all[..size], limits.inner)? {
                    break;
                }
                let next = image.symbols.containing(symbol.address + size as u64).map_or(0, |next| next.size as usize);
                if next == 0 || size + next > MOST.1.min(all.len()) {
                    break;
                }
                size += next;
            }
        }
        let (offset, bytes) = part.map_or((0, &all[..size]), |part| part.of(&all[..size]));
        let name_of = Box::new(|address| {
            let named = image.symbols.at(address).iter().find(|symbol| preferred.contains(&symbol.name));
            named.map_or_else(|| image.symbols.name(address), |symbol| symbol.name.clone())
        });
        Ok(Self { start: symbol.address + offset, bytes, name_of })
    }
}

/// Whether control falls off the end of this code, or jumps forward to what is not far behind it: a place without a name, or a
/// label of its own.
fn goes_on(image: &KernelImage, start: u64, bytes: &[u8], inner: &[String]) -> Result<bool, Error> {
    const NEAR: u64 = 256;
    let end = start + bytes.len() as u64;
    let steps = steps(image.cpu, start, bytes, &[])?;
    let is_own = |target: u64| {
        let symbols = image.symbols.at(target);
        symbols.is_empty() || symbols.iter().any(|symbol| inner.contains(&symbol.name))
    };
    let is_behind = |target: u64| (end..end + NEAR).contains(&target) && is_own(target);
    let jumps = steps.iter().any(|Reached { step, is_reached }| {
        *is_reached && step.flow.kind == FlowKind::Jump && step.flow.target.is_some_and(is_behind)
    });
    Ok(jumps || steps.last().is_some_and(|last| last.is_reached && !last.step.ends()))
}

/// One of so many equal parts.
#[derive(Clone, Copy)]
struct Part {
    index: usize,
    count: usize,
}

impl Part {
    fn of(self, bytes: &[u8]) -> (u64, &[u8]) {
        let size = bytes.len() / self.count;
        let start = size * self.index;
        (start as u64, &bytes[start..start + size])
    }
}

/// `vectors+5/16` as its name and its part.
fn part(name: &str) -> (&str, Option<Part>) {
    let parse = || {
        let (name, part) = name.split_once('+')?;
        let (index, count) = part.split_once('/')?;
        let (index, count) = (index.parse().ok()?, count.parse().ok()?);
        (index < count).then_some((name, Part { index, count }))
    };
    parse().map_or((name, None), |(name, part)| (name, Some(part)))
}

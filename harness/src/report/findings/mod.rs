//! What a run found out: docs/findings.md and docs/findings/ for people, and the whole tables in docs/data/.

mod claims;
mod hooked;
mod prose;
mod refusals;
mod stacks;

use std::io::Write;
use std::path::Path;

use crate::analysis::claims::Claims;
use crate::recording::Recording;
use crate::{Error, file};

/// Pages with sentences: the source, and the page that is made of it, both below the root. A source has another suffix, because its
/// links are those of the page, and a viewer of Markdown would show them broken.
const PROSE: [(&str, &str); 6] = [
    ("docs/findings/source/findings.md.in", "docs/findings.md"),
    ("docs/findings/source/s0.md.in", "docs/findings/s0.md"),
    ("docs/findings/source/s1.md.in", "docs/findings/s1.md"),
    ("docs/findings/source/s2.md.in", "docs/findings/s2.md"),
    ("docs/findings/source/s3.md.in", "docs/findings/s3.md"),
    ("docs/findings/source/s4.md.in", "docs/findings/s4.md"),
];

/// Writes the lines of a page below its head.
type Lines = fn(&Recording, &Claims, &mut dyn Write) -> std::io::Result<()>;

/// Pages of data: the file, the title, and what is in it.
const DATA: [(&str, &str, Lines); 4] = [
    ("docs/data/hooked.md", "Hooked return addresses", |recording, _, out| hooked::write(recording, out)),
    ("docs/data/claims.md", "Open claims", claims::write),
    ("docs/data/stacks.md", "Walks across stacks", |recording, _, out| {
        stacks::write_split(recording, out)?;
        stacks::write_reads_outside(recording, out)
    }),
    ("docs/data/refusals.md", "What the reliable forms refuse needlessly", |recording, _, out| {
        refusals::write(recording, out)
    }),
];

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Where it belongs, below the root.
    pub path: &'static str,
    /// Its text.
    pub text: String,
}

impl Page {
    /// What the command calls it: the stem of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        stem(self.path)
    }
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.strip_suffix(".md")).unwrap_or(path)
}

/// The names of all pages, in order; the first is the one with the answers.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROSE.iter().map(|(_, path)| stem(path)).chain(DATA.iter().map(|(path, ..)| stem(path)))
}

/// Whether the page of this name has sentences, which people wrote.
#[must_use]
pub fn is_prose(name: &str) -> bool {
    PROSE.iter().any(|(_, path)| stem(path) == name)
}

/// What people wrote: the sources of the pages, and the pages on Linux that they quote.
#[derive(Debug, Default)]
pub struct Sources {
    pages: Vec<String>,
    linux: String,
    models: String,
}

impl Sources {
    /// Reads them below `root`.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn load(root: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = root.join(name);
            file::require_inside(root, &path)?;
            file::read_text(&path)
        };
        let pages = PROSE.iter().map(|(source, _)| read(source)).collect::<Result<_, _>>()?;
        Ok(Self { pages, linux: read("docs/data/linux.md")?, models: read("docs/linux.md")? })
    }
}

/// All pages.
///
/// # Errors
///
/// [`Error::Scenario`] for a source that is malformed, or whose sentences the run contradicts.
pub fn pages(recording: &Recording, claims: &Claims, sources: &Sources) -> Result<Vec<Page>, Error> {
    let others: Vec<(&str, &str)> =
        PROSE.iter().map(|(_, path)| stem(path)).zip(sources.pages.iter().map(String::as_str)).collect();
    let from = prose::From { recording, claims, linux: &sources.linux, models: &sources.models, others: &others };
    let mut pages = Vec::new();
    for ((source, path), text) in PROSE.into_iter().zip(&sources.pages) {
        let text = prose::page(text, from).map_err(|reason| Error::Scenario { path: source.into(), reason })?;
        pages.push(Page { path, text: with_gaps(recording, text) });
    }
    for (path, title, lines) in DATA {
        let mut text =
            format!("# {title}\n\nGenerated: `unwind-harness findings --write`. Do not edit.\n\n").into_bytes();
        lines(recording, claims, &mut text).map_err(|source| Error::File { path: path.into(), source })?;
        let text = String::from_utf8_lossy(&text).trim_end().to_owned() + "\n";
        pages.push(Page { path, text: with_gaps(recording, text) });
    }
    Ok(pages)
}

/// A page that says first what is not in it.
fn with_gaps(recording: &Recording, page: String) -> String {
    let mut gaps = String::new();
    if let Some(partial) = &recording.partial {
        gaps.push_str(&format!("**{partial}.**\n\n"));
    }
    for (run, reason) in recording.not_judged() {
        gaps.push_str(&format!("**Not judged: {run}: {reason}**\n\n"));
    }
    if gaps.is_empty() { page } else { gaps + &page }
}

//! The pages docs/fidelity.md and docs/fidelity/CPU.md: prose of docs/fidelity.toml, and what the comparison says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Comparison;
use super::report::{LINKED, side_by_side, totals};
use crate::cpu::{ALL, Cpu};
use crate::linux::KernelImage;
use crate::{Error, file};

/// Where a page's prose has the comparison.
const PLACE: &str = "{comparison}\n";
const GENERATED: &str = "Generated: `unwind-harness fidelity --linux FOLDER --markdown docs`, with the prose of docs/fidelity.toml. Do not edit.\n";

/// An image, and its comparison.
#[derive(Debug)]
pub struct Compared {
    /// The CPU.
    pub cpu: &'static Cpu,
    /// The image's release.
    pub release: String,
    /// The image's build id.
    pub build_id: String,
    /// Each mimic of that CPU.
    pub comparisons: Vec<Comparison>,
}

impl Compared {
    /// An image, and what [`super::compare`] has found.
    #[must_use]
    pub fn new(image: &KernelImage, comparisons: Vec<Comparison>) -> Self {
        let build_id = image.build_id.clone().unwrap_or_else(|| "none".to_owned());
        Self { cpu: image.cpu, release: image.release.clone(), build_id, comparisons }
    }
}

/// The prose of the pages: one for each CPU, and `index`.
#[derive(Debug)]
pub struct Pages {
    prose: BTreeMap<String, String>,
    path: PathBuf,
}

impl Pages {
    /// Reads docs/fidelity.toml.
    ///
    /// # Errors
    ///
    /// [`Error::File`], and [`Error::Scenario`] when it is malformed or lacks a page.
    pub fn load(root: &Path) -> Result<Self, Error> {
        let path = root.join("docs/fidelity.toml");
        let malformed = |reason: String| Error::Scenario { path: path.clone(), reason };
        let prose: BTreeMap<String, String> = toml::from_str(&file::read_text(&path)?)
            .map_err(|error| malformed(error.to_string().trim_end().to_owned()))?;
        for name in ALL.iter().map(|cpu| cpu.name).chain(["index"]) {
            if prose.get(name).is_none_or(|prose| prose.matches(PLACE).count() != 1) {
                return Err(malformed(format!("it needs a text {name:?} with one line {:?}", PLACE.trim_end())));
            }
        }
        Ok(Self { prose, path })
    }

    /// The pages, with their paths within the folder of the documentation. There must be one image for each CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn of(&self, all: &[Compared]) -> Result<Vec<(PathBuf, String)>, Error> {
        let mut pages = Vec::new();
        let mut table = String::from("| page | image | equal | differ | not in the image |\n|---|---|--:|--:|--:|\n");
        for cpu in ALL {
            let mut its = all.iter().filter(|compared| compared.cpu.name == cpu.name);
            let (Some(compared), None) = (its.next(), its.next()) else {
                return Err(Error::Usage(format!("--markdown needs a folder with one image for {}", cpu.name)));
            };
            let [equal, differ, missing] = totals(&compared.comparisons);
            let _ = writeln!(
                table,
                "| [{name}](fidelity/{name}.md) | {} | {equal} | {differ} | {missing} |",
                compared.release,
                name = cpu.name
            );
            pages.push((PathBuf::from(format!("fidelity/{}.md", cpu.name)), self.filled(cpu.name, &page_of(compared))));
        }
        pages.push((PathBuf::from("fidelity.md"), self.filled("index", &table)));
        Ok(pages)
    }

    /// A page: what is generated in its place in the prose, and a word about that below the title.
    fn filled(&self, name: &str, generated: &str) -> String {
        let prose = self.prose.get(name).unwrap_or_else(|| panic!("{}: {name} was looked for", self.path.display()));
        let (title, rest) = prose.split_once('\n').unwrap_or((prose, ""));
        format!("{title}\n\n{GENERATED}{}", rest.replace(PLACE, generated))
    }
}

/// The section of a page that is generated: the table, and each function that differs, with the reason.
#[must_use]
pub fn page_of(compared: &Compared) -> String {
    let Compared { release, build_id, comparisons, .. } = compared;
    let [equal, differ, missing] = totals(comparisons);
    let mut text = format!(
        "Release {release}, build id `{build_id}`: {equal} functions are equal, {differ} differ, {missing} are not in this image. \
         {LINKED}\n\n"
    );
    text.push_str("| function | mimic | in | equal | only mimic | only image | why they differ |\n");
    text.push_str("|---|---|---|--:|--:|--:|---|\n");
    for comparison in comparisons {
        let Comparison { mimic, guest, image, .. } = comparison;
        let why = match &comparison.differs {
            _ if comparison.differences() == 0 => "",
            Some(why) => why,
            None => "**not explained**",
        };
        let _ = match &comparison.rows {
            Err(reason) => writeln!(text, "| `{image}` | `{mimic}` | `{guest}` | | | | {reason} |"),
            Ok(_) => {
                let [both, left, right] = comparison.counts();
                writeln!(text, "| `{image}` | `{mimic}` | `{guest}` | {both} | {left} | {right} | {why} |")
            }
        };
    }
    for comparison in comparisons.iter().filter(|comparison| comparison.differences() > 0) {
        let _ = write!(text, "\n```text\n{}```\n", side_by_side(comparison));
    }
    text
}

//! Pages whose sentences are written by hand, and whose numbers a run fills in: docs/findings.md and docs/findings/.
//!
//! A source (docs/findings/source/) begins with TOML between two lines of `+++`: which walks are counted, and which of them are
//! lines of the page's table. The text below has names in double braces where numbers belong:
//!
//! * `{{agreed.unsound}}`: how many instructions of the selection `agreed` have an unsound walk; `-walks` behind it: how many
//!   walks; `-at`: where, by name. Likewise `missing`, `overstated`, `refused` and `right`. `{{agreed.instructions}}` and
//!   `{{agreed.walks}}`: all of them. Of the first of the worst walks, `{{agreed.point}}`, `{{agreed.got}}`, what is `{{agreed.true}}`,
//!   and the command that explains it, `{{agreed.explain}}`.
//! * `{{table}}`: the table. A line with `rest = true` is about all scenarios of the CPU that no other line names.
//! * `{{claim R-d confirmed}}`: a link to the claim. Another outcome than this one is an error: the sentence has to be written anew.
//! * `{{linux DEFECT RELEASE}}`: a cell of docs/data/linux.md.
//! * `{{models points}}`, `{{models differ}}`: at how many points docs/linux.md compares our models with kernels, and where they differ.
//! * `{{run.scenarios}}`, `{{run.void}}` (those that are void in every run), `{{run.points}}`, `{{run.walks}}`: of the whole run.
//!
//! What a page quotes of another (`[[quoted]]`, with `line = "s0.agreed"`) is that page's selection, so that both count the same.

use serde::Deserialize;

use super::claims::link;
use crate::analysis::claims::{self, Outcome};
use crate::analysis::select::{Class, Counts, Selection};
use crate::recording::{Recording, Section};
use crate::subject::Claims;

/// What a page is made of, beside its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    /// The run.
    pub(super) recording: &'a Recording,
    /// The claims.
    pub(super) claims: &'a claims::Claims,
    /// The text of docs/data/linux.md.
    pub(super) linux: &'a str,
    /// The text of docs/linux.md.
    pub(super) models: &'a str,
    /// The sources of all pages, by name.
    pub(super) others: &'a [(&'a str, &'a str)],
}

/// The TOML in front of a source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    /// The way from the page to the folder docs, such as `../`.
    #[serde(default)]
    docs: String,
    /// The heads of the table's cells of text.
    #[serde(default)]
    columns: Vec<String>,
    /// The table's counted columns.
    #[serde(default)]
    show: Vec<Show>,
    /// The lines of the table.
    #[serde(default)]
    row: Vec<Row>,
    /// Selections that only sentences name.
    #[serde(default)]
    other: Vec<Row>,
    /// Selections of other pages.
    #[serde(default)]
    quoted: Vec<Quoted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quoted {
    id: String,
    /// The page and the id of its selection, with a dot between them.
    line: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Show {
    Unsound,
    UnsoundWalks,
    Missing,
    MissingWalks,
    Overstated,
    Refused,
    RefusedWalks,
    RightWalks,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    /// The table's cells of text.
    #[serde(default)]
    cells: Vec<String>,
    select: Selection,
    /// All scenarios of the CPU that no other line names.
    #[serde(default)]
    rest: bool,
    /// What the sentences say about it.
    unsound: Option<Expected>,
    missing: Option<Expected>,
    overstated: Option<Expected>,
    /// `none`: there is no such walk, and the page says so.
    walks: Option<Expected>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    None,
    Some,
}

impl Show {
    const fn head(self) -> &'static str {
        match self {
            Self::Unsound => "unsound at instructions",
            Self::UnsoundWalks => "unsound walks",
            Self::Missing => "caller missing at instructions",
            Self::MissingWalks => "walks",
            Self::Overstated => "overstated at instructions",
            Self::Refused => "refused at instructions",
            Self::RefusedWalks => "refused walks",
            Self::RightWalks => "right walks",
        }
    }

    fn cell(self, counts: &Counts) -> String {
        let instructions = |class: Class| (counts.of(class).count() as u64, counts.instructions.len() as u64);
        let walks = |class: Class| (counts.walks_of(class), counts.all_walks());
        let (count, of) = match self {
            Self::Unsound => instructions(Class::Unsound),
            Self::UnsoundWalks => walks(Class::Unsound),
            Self::Missing => instructions(Class::Missing),
            Self::MissingWalks => walks(Class::Missing),
            Self::Overstated => instructions(Class::Overstated),
            Self::Refused => instructions(Class::Refused),
            Self::RefusedWalks => walks(Class::Refused),
            Self::RightWalks => walks(Class::Right),
        };
        let is_silent = counts.claims == Some(Claims::Never);
        match self {
            Self::Unsound | Self::UnsoundWalks if is_silent => return "no claim".to_owned(),
            Self::Missing | Self::MissingWalks if !is_silent => return "-".to_owned(),
            _ => {}
        }
        let is_bad = matches!(self, Self::Unsound | Self::Missing) && count > 0;
        match of {
            0 => "-".to_owned(),
            _ if is_bad => format!("**{count}** of {of}"),
            _ => format!("{count} of {of}"),
        }
    }
}

/// The page of a source.
///
/// # Errors
///
/// What is wrong with the source, or which of its sentences the run contradicts.
pub(super) fn page(source: &str, from: From<'_>) -> Result<String, String> {
    let (mut front, text) = Front::of(source)?;
    for Quoted { id, line } in std::mem::take(&mut front.quoted) {
        front.other.push(Row { id, ..quoted(&line, from.others)? });
    }
    let mut counted = Vec::new();
    for row in front.row.iter().chain(&front.other) {
        let counts = row.select.count(from.recording);
        if from.recording.partial.is_none() {
            row.require(&counts)?;
        }
        counted.push((row, counts));
    }
    let table = table(&front, &counted);
    let mut page = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}").ok_or("a {{ without }}")?;
        page.push_str(before);
        page.push_str(&match name.split_whitespace().collect::<Vec<_>>()[..] {
            ["table"] => table.clone(),
            ["claim", id, outcome] => claim(id, outcome, &front.docs, from)?,
            ["linux", defect, release] => linux(defect, release, from.linux)?,
            ["models", what] => models(what, from.models)?,
            [one] => value(one, &counted, from.recording)?,
            _ => return Err(format!("{{{{{name}}}}}: unknown")),
        });
        rest = after;
    }
    page.push_str(rest);
    Ok(wrapped(&page))
}

/// Columns of a page's source text, where its lines can be broken.
const WIDTH: usize = 130;

/// Breaks the lines of paragraphs and of lists anew, because numbers are not as long as their names. Tables, commands and
/// headings stay.
fn wrapped(page: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_code = false;
    let mut is_open = false;
    for line in page.trim_start().lines() {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let is_kept = is_code || is_fence || line.is_empty() || line.starts_with(['|', '#']);
        let is_item = line.starts_with("* ");
        if is_kept || is_item || !is_open {
            lines.push(if is_kept { line.to_owned() } else { String::new() });
        }
        is_open = !is_kept;
        if is_kept {
            continue;
        }
        for word in line.split_whitespace() {
            let Some(last) = lines.last_mut() else { continue };
            if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH {
                let is_list = last.starts_with("* ") || last.starts_with("  ");
                lines.push(if is_list { format!("  {word}") } else { word.to_owned() });
            } else {
                last.push_str(if last.is_empty() { "" } else { " " });
                last.push_str(word);
            }
        }
    }
    lines.join("\n") + "\n"
}

/// A selection of another page.
fn quoted(line: &str, others: &[(&str, &str)]) -> Result<Row, String> {
    let unknown = || format!("{line}: no such line of another page");
    let (page, id) = line.split_once('.').ok_or_else(unknown)?;
    let (_, source) = others.iter().find(|(name, _)| *name == page).ok_or_else(unknown)?;
    let (Front { row, other, .. }, _) = Front::of(source)?;
    row.into_iter().chain(other).find(|row| row.id == id).ok_or_else(unknown)
}

impl Front {
    /// The parts of a source: this, with its lines for the rest complete, and the text.
    fn of(source: &str) -> Result<(Self, &str), String> {
        let parts: Vec<&str> = source.splitn(3, "+++\n").collect();
        let ["", front, text] = parts[..] else {
            return Err("it does not begin with TOML between lines of +++".to_owned());
        };
        let mut front: Self = toml::from_str(front).map_err(|error| error.to_string().trim_end().to_owned())?;
        front.complete();
        Ok((front, text))
    }

    /// Leaves out of the lines for the rest what other lines name, so that no scenario is left out of the page.
    fn complete(&mut self) {
        let of_row = |row: &Row| {
            let Selection { cpu, scenarios, .. } = row.select.clone();
            scenarios.into_iter().map(move |name| (cpu.clone(), name))
        };
        let named: Vec<(String, String)> = self.row.iter().chain(&self.other).flat_map(of_row).collect();
        for Row { select, .. } in self.row.iter_mut().chain(&mut self.other).filter(|row| row.rest) {
            let others = named.iter().filter(|(cpu, _)| *cpu == select.cpu);
            select.without.extend(others.map(|(_, name)| name.clone()));
        }
    }
}

impl Row {
    fn require(&self, counts: &Counts) -> Result<(), String> {
        let Self { id, unsound, missing, overstated, walks, .. } = self;
        let is_empty = counts.all_walks() == 0;
        if is_empty != (*walks == Some(Expected::None)) {
            return Err(format!("{id}: {} walks are selected", counts.all_walks()));
        }
        for (expected, class, name) in [
            (unsound, Class::Unsound, "unsound"),
            (missing, Class::Missing, "missing"),
            (overstated, Class::Overstated, "overstated"),
        ] {
            let count = counts.walks_of(class);
            if expected.is_some_and(|it| (it == Expected::None) != (count == 0)) {
                return Err(format!("{id}: {count} walks are {name}, and the page says otherwise: write it anew"));
            }
        }
        Ok(())
    }
}

fn table(front: &Front, counted: &[(&Row, Counts)]) -> String {
    let heads = front.columns.iter().map(String::as_str).chain(front.show.iter().map(|show| show.head()));
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![line(heads.map(str::to_owned).collect())];
    lines.push(format!("|{}{}", "---|".repeat(front.columns.len()), "---:|".repeat(front.show.len())));
    for (row, counts) in counted.iter().take(front.row.len()) {
        lines.push(line(row.cells.iter().cloned().chain(front.show.iter().map(|show| show.cell(counts))).collect()));
    }
    lines.join("\n")
}

fn claim(id: &str, outcome: &str, docs: &str, from: From<'_>) -> Result<String, String> {
    let claim = from.claims.claim.iter().find(|claim| claim.id == id).ok_or_else(|| format!("{id}: no such claim"))?;
    let is = claim.outcome(from.recording);
    let is_cut = matches!(is, Outcome::Undecided(_)) && claim.by.is_some();
    if is.name() != outcome && !is_cut {
        return Err(format!("{id} is {}, and the page says {outcome}: write it anew", is.name()));
    }
    Ok(format!("[{id}]({docs}data/claims.md#{})", link(id, &is)))
}

/// A cell of the first table of docs/data/linux.md.
fn linux(defect: &str, release: &str, page: &str) -> Result<String, String> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = page.lines().filter(|line| line.starts_with("| ")).map(cells);
    let column = lines.next().and_then(|heads| heads.iter().position(|head| head == defect));
    let row = lines.find(|cells| cells.get(2).is_some_and(|name| name == release));
    column
        .zip(row)
        .and_then(|(column, row)| row.get(column).cloned())
        .filter(|cell| !cell.is_empty())
        .ok_or_else(|| format!("docs/data/linux.md says nothing about {defect} of {release}"))
}

/// A number of the sentence on models in docs/linux.md.
fn models(what: &str, page: &str) -> Result<String, String> {
    let behind = match what {
        "points" => "\nAt ",
        "differ" => "; they differ at ",
        _ => return Err(format!("{{{{models {what}}}}}: unknown")),
    };
    let number =
        page.split_once(behind).map(|(_, rest)| rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or(""));
    number
        .filter(|number| !number.is_empty())
        .map(str::to_owned)
        .ok_or("docs/linux.md says nothing of our models".to_owned())
}

fn value(name: &str, counted: &[(&Row, Counts)], recording: &Recording) -> Result<String, String> {
    let unknown = || format!("{{{{{name}}}}}: unknown");
    let (id, field) = name.split_once('.').ok_or_else(unknown)?;
    if id == "run" {
        return of_run(field, recording).map(|count| count.to_string()).ok_or_else(unknown);
    }
    let (_, counts) = counted.iter().find(|(row, _)| row.id == id).ok_or_else(unknown)?;
    match field {
        "instructions" => return Ok(counts.instructions.len().to_string()),
        "walks" => return Ok(counts.all_walks().to_string()),
        _ => {}
    }
    let first = || counts.first.as_ref().ok_or_else(|| format!("{id}: all walks are right"));
    match field {
        "explain" => return Ok(first()?.command.clone()),
        "point" => return Ok(first()?.point.clone()),
        "true" => return Ok(first()?.expected.join(" < ")),
        "got" => return Ok(first()?.got.join(" < ")),
        _ => {}
    }
    let (class, what) = field.split_once('-').unwrap_or((field, ""));
    let class = match class {
        "unsound" => Class::Unsound,
        "missing" => Class::Missing,
        "overstated" => Class::Overstated,
        "refused" => Class::Refused,
        "right" => Class::Right,
        _ => return Err(unknown()),
    };
    match what {
        "" => Ok(counts.of(class).count().to_string()),
        "walks" => Ok(counts.walks_of(class).to_string()),
        "at" => Ok(places(counts, class)),
        _ => Err(unknown()),
    }
}

fn places(counts: &Counts, class: Class) -> String {
    let ranges = counts.ranges(class).into_iter().map(|(name, first, last)| match first == last {
        true => format!("`{name}+{first:#x}`"),
        false => format!("`{name}+{first:#x}..+{last:#x}`"),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

fn of_run(field: &str, recording: &Recording) -> Option<u64> {
    let sections = || recording.sections.iter().filter(|section| section.void.is_none());
    let names = |sections: &mut dyn Iterator<Item = &Section>| {
        let names: std::collections::BTreeSet<String> = sections.map(|section| section.scenario.clone()).collect();
        names.len() as u64
    };
    match field {
        "scenarios" => Some(names(&mut recording.sections.iter())),
        "void" => Some(names(&mut recording.sections.iter()) - names(&mut sections())),
        "points" => Some(sections().map(|section| section.points).sum()),
        "walks" => Some(sections().flat_map(|section| &section.columns).map(|column| column.counters.walks).sum()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{models, quoted};

    #[test]
    fn a_line_is_quoted_from_the_page_that_has_it() {
        let select = "{ cpu = \"any\", unwinder = \"dwarf\", starts = \"callable\" }";
        let page = format!("+++\n[[row]]\nid = \"one\"\nselect = {select}\n+++\ntext");
        let others = [("s0", page.as_str())];
        assert_eq!(quoted("s0.one", &others).map(|row| row.select.unwinder), Ok("dwarf".to_owned()));
        for unknown in ["s0.two", "s1.one", "one"] {
            assert!(quoted(unknown, &others).is_err_and(|error| error.contains(unknown)), "{unknown}");
        }
    }

    #[test]
    fn how_models_compare_is_what_the_page_says() {
        let page = "# Linux\n\nAt 12 points of these images both were asked; they differ at 3. More.\n";
        assert_eq!([models("points", page), models("differ", page)], [Ok("12".to_owned()), Ok("3".to_owned())]);
        assert!(models("points", "nothing").is_err() && models("walks", page).is_err());
    }
}

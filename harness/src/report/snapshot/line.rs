//! One line of a snapshot: neighbouring instructions at which everything is alike.
//!
//! ```text
//!   +0x4..+0x1c      stp x0, x1, [sp]             | T5ss6 S0ss0  irq,-nmi #1 | T5=== S0===  irq,-nmi #2  ret_stack
//! ```
//!
//! After each bar come kinds of interruption and arrivals that fare alike: their verdicts by start and column, their names, and
//! the places of a displaced return address.

use super::Start;
use super::alphabet::{self, Cell};
use super::range::{self, Ranges};

/// No line is longer.
pub(super) const WIDTH: usize = 120;
/// Where the instruction begins.
const TEXT: usize = 19;
/// How much of it is shown.
const TEXT_WIDTH: usize = 28;
/// No shorter part of one is shown.
const MIN_TEXT: usize = 8;

/// Takes the place of verdicts on a line that gives only the places of return addresses.
const PLACES: &str = "at";

/// Where displaced return addresses are, by arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) places: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// The columns that a line is of, if they are not all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Those of one start alone.
    pub(super) start: Option<Start>,
    /// Those with these letters alone.
    pub(super) letters: String,
}

/// What fares alike at an instruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The kinds of interruption, and whether they are masked there.
    pub(super) kinds: Vec<(String, bool)>,
    pub(super) part: Part,
    /// The arrivals that the cells are of.
    pub(super) arrivals: Ranges,
    /// How often the instruction ran.
    pub(super) visits: u64,
    /// Whether SP and the frame pointer were on different stacks.
    pub(super) split: bool,
    /// For each start, a cell for each subject; empty on a line that gives only places.
    pub(super) blocks: Vec<Vec<Cell>>,
    /// For all arrivals, including those of other groups.
    pub(super) places: Vec<Places>,
}

/// Maps a kind of interruption to its starts and the letters of their columns.
pub(super) type Shapes<'s> = dyn Fn(&str) -> Result<Vec<(Start, String)>, String> + 's;

/// How many arrivals there are.
fn count(arrivals: &[(u64, u64)]) -> u64 {
    arrivals.iter().fold(0, |sum, (first, last)| sum + (last - first + 1))
}

/// The last arrival of a kind that the groups of a line speak of.
fn last_arrival(groups: &[Group], kind: &str) -> u64 {
    let groups = groups.iter().filter(|group| group.kinds.iter().any(|(name, _)| name == kind));
    groups.flat_map(|group| &group.arrivals).map(|(_, last)| *last).max().unwrap_or(0)
}

/// The places of return addresses alone, where there are any.
pub(super) fn only_places(groups: &[Group]) -> Vec<Group> {
    let mut places: Vec<Group> = Vec::new();
    for group in groups.iter().filter(|group| !group.places.is_empty()) {
        for (kind, _) in &group.kinds {
            let last = last_arrival(groups, kind);
            let arrivals = Some((1, last)).filter(|_| last > 0).into_iter().collect();
            let found =
                Group { kinds: Vec::new(), part: Part::default(), arrivals, blocks: Vec::new(), ..group.clone() };
            let is_known = |group: &Group| group.kinds.iter().any(|(known, _)| known == kind);
            if places.iter().any(is_known) {
                continue;
            }
            share(&mut places, found, kind, false);
        }
    }
    places
}

/// Adds what is found for one kind: to the group that is alike, if there is one.
pub(super) fn share(groups: &mut Vec<Group>, found: Group, kind: &str, masked: bool) {
    let kind = (kind.to_owned(), masked);
    match groups.iter_mut().find(|group| Group { kinds: Vec::new(), ..(*group).clone() } == found) {
        Some(group) => group.kinds.push(kind),
        None => groups.push(Group { kinds: vec![kind], ..found }),
    }
}

/// The text from the first bar on.
pub(super) fn join(groups: &[Group]) -> String {
    let mut parts = Vec::new();
    let places: Vec<String> = groups.iter().map(|group| group.write_places(groups)).collect();
    for (index, group) in groups.iter().enumerate() {
        let blocks: Vec<String> = group.blocks.iter().map(|cells| alphabet::write(cells)).collect();
        let blocks = if blocks.is_empty() { PLACES.to_owned() } else { blocks.join(" ") };
        let mut part = format!("| {blocks}  {}", group.label(groups));
        // The last of several groups with the same places names them for all.
        match (places[index].as_str(), places.get(index + 1).map(String::as_str)) {
            (places, Some(next)) if places == next => {}
            ("", None) => {}
            ("", Some(_)) => part += "  -",
            (places, _) => part += &format!("  {places}"),
        }
        parts.push(part);
    }
    parts.join(" ")
}

impl Group {
    /// Whether all kinds have just this last arrival.
    fn all_end_at(&self, groups: &[Self], last: u64) -> bool {
        self.kinds.iter().all(|(kind, _)| last_arrival(groups, kind) == last)
    }

    fn label(&self, groups: &[Self]) -> String {
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, masked)| format!("{}{kind}", if *masked { "-" } else { "" })).collect();
        let mut label = kinds.join(",");
        if let Some(start) = self.part.start {
            label += &format!("@{}", start.name());
        }
        if !self.part.letters.is_empty() {
            label += &format!(":{}", self.part.letters);
        }
        label += &match self.arrivals.as_slice() {
            [] => " 0".to_owned(),
            [(1, last)] if self.all_end_at(groups, *last) => format!(" {last}"),
            arrivals => format!(" #{}", range::write(arrivals)),
        };
        if !self.all_end_at(groups, self.visits) {
            label += &format!(" of {}", self.visits);
        }
        if self.split {
            label += " split";
        }
        label
    }

    /// The places alone, if the address is there at every arrival; else with the arrivals.
    fn write_places(&self, groups: &[Self]) -> String {
        if let [Places { places, first: 1, last }] = self.places.as_slice()
            && self.all_end_at(groups, *last)
        {
            return places.clone();
        }
        let mut by_place: Vec<(&str, Ranges)> = Vec::new();
        for Places { places, first, last } in &self.places {
            match by_place.iter_mut().find(|(known, _)| known == places) {
                Some((_, ranges)) => ranges.push((*first, *last)),
                None => by_place.push((places, vec![(*first, *last)])),
            }
        }
        let parts = by_place.iter().map(|(places, ranges)| format!("{places} #{}", range::write(ranges)));
        parts.collect::<Vec<_>>().join("; ")
    }
}

/// A group as written, before it takes its places from the next group.
struct Raw<'t> {
    group: Group,
    visits: Option<u64>,
    places: Option<&'t str>,
}

/// Reads what [`join`] has written: one group for each kind.
fn split(text: &str, shapes: &Shapes<'_>) -> Result<Vec<Group>, String> {
    let mut raw = text.split(" | ").map(|part| read_group(part, shapes)).collect::<Result<Vec<_>, _>>()?;
    let mut next = None;
    for raw in raw.iter_mut().rev() {
        raw.places = raw.places.or(next);
        next = raw.places;
    }
    let groups: Vec<Group> = raw.iter().map(|raw| raw.group.clone()).collect();
    let mut single = Vec::new();
    for Raw { group, visits, places } in raw {
        for kind in &group.kinds {
            let last = last_arrival(&groups, &kind.0);
            let places = match places {
                None | Some("-") => Vec::new(),
                Some(text) => read_places(text, last)?,
            };
            let visits = visits.unwrap_or(last);
            single.push(Group { kinds: vec![kind.clone()], visits, places, ..group.clone() });
        }
    }
    Ok(single)
}

fn read_group<'t>(text: &'t str, shapes: &Shapes<'_>) -> Result<Raw<'t>, String> {
    let mut fields = text.split("  ").map(str::trim).filter(|field| !field.is_empty());
    let (Some(verdicts), Some(label)) = (fields.next(), fields.next()) else {
        return Err(format!("{text:?} lacks verdicts or the kind of interruption"));
    };
    let (mut group, visits) = read_label(label)?;
    let mut columns = shapes(group.kinds.first().map_or("", |(kind, _)| kind))?;
    columns.retain(|(start, _)| group.part.start.is_none_or(|only| only == *start));
    if let ([(_, letters)], false) = (columns.as_mut_slice(), group.part.letters.is_empty()) {
        letters.retain(|letter| group.part.letters.contains(letter));
    }
    let blocks: Vec<&str> = verdicts.split(' ').filter(|_| verdicts != PLACES).collect();
    if verdicts == PLACES {
        columns.clear();
    }
    if blocks.len() != columns.len() {
        return Err(format!("{} starts instead of {}", blocks.len(), columns.len()));
    }
    for (block, (_, letters)) in blocks.into_iter().zip(columns) {
        group.blocks.push(alphabet::read(block, letters.len(), count(&group.arrivals))?);
    }
    let places = fields.next();
    match fields.next() {
        None => Ok(Raw { group, visits, places }),
        Some(rest) => Err(format!("{rest:?} is too much")),
    }
}

fn read_label(label: &str) -> Result<(Group, Option<u64>), String> {
    let wrong = || format!("{label:?} is not of the form `irq,-nmi@regs:abc #1,3 of 4 split`");
    // More would let sums overflow.
    let number = |text: &str| text.parse::<u32>().map(u64::from).map_err(|_| wrong());
    let (label_without, split) = label.strip_suffix(" split").map_or((label, false), |label| (label, true));
    let (who, count) = label_without.split_once(' ').ok_or_else(wrong)?;
    let (arrivals, visits) = count.split_once(" of ").map_or((count, None), |(arrivals, of)| (arrivals, Some(of)));
    let arrivals = match arrivals.strip_prefix('#') {
        Some(ranges) => range::read(ranges)?,
        None => Some((1, number(arrivals)?)).filter(|(_, last)| *last > 0).into_iter().collect(),
    };
    let in_order = arrivals.windows(2).all(|pair| pair[0].1 < pair[1].0);
    if !in_order || arrivals.iter().any(|(first, last)| *first == 0 || u32::try_from(*last).is_err()) {
        return Err(wrong());
    }
    let (who, letters) = who.split_once(':').unwrap_or((who, ""));
    let (kinds, start) = match who.split_once('@') {
        None => (who, None),
        Some((kinds, start)) => (kinds, Some(super::start_named(start).ok_or_else(wrong)?)),
    };
    let kinds = kinds.split(',').map(|kind| match kind.strip_prefix('-') {
        Some(kind) => (kind.to_owned(), true),
        None => (kind.to_owned(), false),
    });
    let part = Part { start, letters: letters.to_owned() };
    let group = Group { kinds: kinds.collect(), part, arrivals, split, ..Group::default() };
    Ok((group, visits.map(number).transpose()?))
}

fn read_places(text: &str, last: u64) -> Result<Vec<Places>, String> {
    let mut runs = Vec::new();
    for part in text.split("; ") {
        let (places, ranges) = match part.split_once(" #") {
            None => (part, vec![(1, last)]),
            Some((places, ranges)) => (places, range::read(ranges)?),
        };
        runs.extend(ranges.into_iter().map(|(first, last)| Places { places: places.to_owned(), first, last }));
    }
    runs.sort_by_key(|run| run.first);
    Ok(runs)
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The first instruction's offset.
    pub(super) first: u64,
    /// The last instruction's.
    pub(super) last: u64,
    /// Kinds of interruption and arrivals, grouped by what is alike.
    pub(super) groups: Vec<Group>,
}

/// Whether groups leave room for the offsets.
pub(super) fn fits(groups: &[Group]) -> bool {
    TEXT + 1 + join(groups).chars().count() <= WIDTH
}

/// The head of columns: what they are of, and their letters where the verdicts will stand.
pub(super) fn columns(what: &str, letters: &str) -> String {
    format!("  {what:<width$} | {letters}", width = TEXT - 2 + TEXT_WIDTH)
}

impl Line {
    /// The line, with the text of its first instruction. Only the instruction gives way where room is short.
    pub(super) fn write(&self, instruction: &str) -> String {
        let place = if self.first == self.last {
            format!("+{:#x}", self.first)
        } else {
            format!("+{:#x}..+{:#x}", self.first, self.last)
        };
        let groups = join(&self.groups);
        let mut line = format!("  {place:<width$} ", width = TEXT - 3);
        let room = WIDTH.saturating_sub(line.chars().count() + groups.chars().count() + 1).min(TEXT_WIDTH);
        // Bars and runs of spaces have a meaning of their own.
        let text = instruction.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
        // A few letters of an instruction say nothing.
        let room_for_text = if room < MIN_TEXT && text.chars().count() > room { 0 } else { room };
        let text: String = text.chars().take(room_for_text).collect();
        line += &format!("{text:<room$} {groups}");
        line
    }

    /// Reads what [`Line::write`] has written: one group for each kind.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub(super) fn read(text: &str, shapes: &Shapes<'_>) -> Result<Self, String> {
        let (place, groups) = text.split_once("| ").ok_or("no bar")?;
        let place = place.split_whitespace().next().unwrap_or_default();
        let offset = |text: &str| {
            let digits = text.strip_prefix("+0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            digits.ok_or_else(|| format!("{text:?} is no offset"))
        };
        let (first, last) = place.split_once("..").unwrap_or((place, place));
        Ok(Self { first: offset(first)?, last: offset(last)?, groups: split(groups, shapes)? })
    }
}

//! Writes the sections of a scenario as its snapshot.

use std::io;

use super::head::{Count, LEGEND, fold};
use super::line::{WIDTH, columns};
use super::range;
use super::track::{Block, Track};
use crate::recording::{ListedFunction, Section};
use crate::report::page::points;

/// Writes the snapshot of one scenario.
///
/// # Errors
///
/// Those of `out`, and [`io::ErrorKind::Other`] if a section has no snapshot: two walks of one subject at one arrival, say.
pub fn write(sections: &[Section], out: &mut dyn io::Write) -> io::Result<()> {
    let mut text = String::new();
    for line in lines(sections).map_err(io::Error::other)? {
        fold(&line, WIDTH, &mut text);
    }
    out.write_all(text.as_bytes())
}

fn lines(sections: &[Section]) -> Result<Vec<String>, String> {
    let Some(first) = sections.first() else { return Err("no section".to_owned()) };
    if sections.iter().any(|section| section.scenario != first.scenario) {
        return Err("sections of several scenarios".to_owned());
    }
    let mut lines = vec![first.scenario.clone()];
    lines.extend(LEGEND.map(str::to_owned));
    let subjects = merged(sections.iter().map(|section| {
        let mut names: Vec<&str> = section.columns.iter().map(|subject| subject.name.as_str()).collect();
        names.dedup();
        names
    }));
    if subjects.len() > 26 {
        return Err("more subjects than letters".to_owned());
    }
    for sections in sections.chunk_by(|one, other| one.variant == other.variant) {
        let variant = Variant { subjects: &subjects, sections };
        variant.head(&mut lines)?;
        for name in
            merged(variant.judged().map(|section| section.functions.iter().map(|it| it.name.as_str()).collect()))
        {
            variant.function(name, &mut lines)?;
        }
    }
    Ok(lines)
}

/// Lists that are parts of one order, as one.
fn merged<'a>(lists: impl Iterator<Item = Vec<&'a str>>) -> Vec<&'a str> {
    let mut lists: Vec<Vec<&str>> = lists.collect();
    let mut all = Vec::new();
    loop {
        lists.retain(|list| !list.is_empty());
        let Some(any) = lists.first().map(|list| list[0]) else { return all };
        let heads = lists.iter().map(|list| list[0]);
        let next = heads.into_iter().find(|head| !lists.iter().any(|list| list[1..].contains(head))).unwrap_or(any);
        all.push(next);
        lists.iter_mut().for_each(|list| list.retain(|name| *name != next));
    }
}

/// One variant of the scenario.
struct Variant<'s> {
    /// The subjects of all variants: their places here are their letters.
    subjects: &'s [&'s str],
    sections: &'s [Section],
}

impl<'s> Variant<'s> {
    fn judged(&self) -> impl Iterator<Item = &'s Section> + use<'s> {
        self.sections.iter().filter(|section| section.void.is_none())
    }

    fn letter(&self, subject: &str) -> Result<char, String> {
        let index = self.subjects.iter().position(|name| *name == subject).ok_or("a subject without a letter")?;
        Ok(char::from(b'a' + u8::try_from(index).map_err(|error| error.to_string())?))
    }

    fn head(&self, lines: &mut Vec<String>) -> Result<(), String> {
        lines.push(String::new());
        lines.extend(self.sections[0].variant.iter().map(|variant| format!("[{variant}]")));
        for section in self.sections {
            let kind = section.interrupt.name();
            if let Some(reason) = &section.void {
                lines.push(format!("{kind}: void: {}", reason.replace('\n', " ")));
                continue;
            }
            lines.push(format!("{kind}: {}", points(section)));
            if let Some((all, folded)) = section.outer {
                lines.push(format!(
                    "{kind}: nested in {folded} of {all} exceptions: the others have the same pc, SP, frame pointer and true trace"
                ));
            }
            let waiting: Vec<String> =
                section.unwitnessed.iter().map(|(place, count)| format!("{place} x{count}")).collect();
            if !waiting.is_empty() {
                lines.push(format!("{kind}: unwitnessed: {}", waiting.join(", ")));
            }
        }
        lines.extend(self.judged().next().map(|_| Count::head()));
        for subject in self.subjects {
            lines.extend(self.counts(subject)?.iter().map(Count::write));
        }
        Ok(())
    }

    /// The counts of a subject: equal ones of several kinds, and of several starts of the same kinds, once.
    fn counts(&self, subject: &str) -> Result<Vec<Count>, String> {
        let letter = self.letter(subject)?;
        let mut by_start: Vec<Count> = Vec::new();
        for section in self.judged() {
            for result in section.columns.iter().filter(|result| result.name == *subject) {
                let kind = section.interrupt.name().to_owned();
                let is_same = |count: &&mut Count| {
                    (count.starts[0], count.counters, count.reads_outside_stacks)
                        == (result.start, result.counters, result.reads_outside_stacks)
                };
                match by_start.iter_mut().find(is_same) {
                    Some(count) => count.kinds.push(kind),
                    None => by_start.push(Count {
                        letter,
                        subject: (*subject).to_owned(),
                        kinds: vec![kind],
                        starts: vec![result.start],
                        counters: result.counters,
                        reads_outside_stacks: result.reads_outside_stacks,
                    }),
                }
            }
        }
        let mut counts: Vec<Count> = Vec::new();
        for count in by_start {
            let is_same = |other: &&mut Count| Count { starts: count.starts.clone(), ..(*other).clone() } == count;
            match counts.iter_mut().find(is_same) {
                Some(other) => other.starts.extend(count.starts),
                None => counts.push(count),
            }
        }
        Ok(counts)
    }

    fn function(&self, name: &str, lines: &mut Vec<String>) -> Result<(), String> {
        let mut tracks: Vec<Track<'s>> = Vec::new();
        let mut steps = None;
        for section in self.judged() {
            let mut all = section.functions.iter().filter(|function| function.name == name);
            let Some(function) = all.next() else { continue };
            if all.next().is_some() {
                return Err(format!("two functions {name}"));
            }
            let found = distances(function)?;
            if *steps.get_or_insert_with(|| found.clone()) != found {
                return Err(format!("{name} has other instructions in {}", section.title()));
            }
            let blocks = blocks(section, self.subjects)?;
            let letters = blocks.iter().map(|block| self.letters(section, block)).collect::<Result<Vec<_>, _>>()?;
            match tracks.iter_mut().find(|track| track.blocks == blocks && track.letters == letters) {
                Some(track) => track.kinds.push((section, function)),
                None => tracks.push(Track { kinds: vec![(section, function)], blocks, letters }),
            }
        }
        lines.push(String::new());
        lines.push(match steps.unwrap_or_default().as_slice() {
            [] => format!("{name}:"),
            steps => format!("{name}: steps {}", range::write_steps(steps)),
        });
        for track in &tracks {
            let kinds: Vec<&str> = track.kinds.iter().map(|(section, _)| section.interrupt.name()).collect();
            let starts: String = track.blocks.iter().map(|block| format!(" @{}", block.start.name())).collect();
            lines.push(columns(&format!("{}{starts}", kinds.join(",")), &track.letters.join(" ")));
            lines.extend(track.lines()?);
        }
        Ok(())
    }

    fn letters(&self, section: &Section, block: &Block) -> Result<String, String> {
        block.columns.iter().map(|column| self.letter(&section.columns[*column].name)).collect()
    }
}

/// The bytes from each instruction to the next.
fn distances(function: &ListedFunction) -> Result<Vec<u64>, String> {
    let offsets: Vec<u64> = function.instructions.iter().map(|instruction| instruction.offset).collect();
    if offsets.first() != Some(&0) || offsets.windows(2).any(|pair| pair[1] <= pair[0]) {
        return Err(format!("the instructions of {} do not rise from 0", function.name));
    }
    Ok(offsets.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

/// The columns by start. They stand by subject, and those of one subject in the order of starts.
fn blocks(section: &Section, subjects: &[&str]) -> Result<Vec<Block>, String> {
    let place = |name: &str| subjects.iter().position(|subject| *subject == name);
    let keys: Vec<_> = section.columns.iter().map(|subject| (place(&subject.name), subject.start)).collect();
    if keys.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("the columns of {} are in no order", section.title()));
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (column, (_, start)) in keys.into_iter().enumerate() {
        match blocks.iter_mut().find(|block| block.start == start) {
            Some(block) => block.columns.push(column),
            None => blocks.push(Block { start, columns: vec![column] }),
        }
    }
    blocks.sort_by_key(|block| block.start);
    Ok(blocks)
}

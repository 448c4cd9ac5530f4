//! Reads a snapshot back.

use super::head::{Count, LEGEND, unfold};
use super::line::{Group, Line, Part};
use super::{Displaced, Function, Instruction, Page, Section, Start, Subject, is_lost, range};
use crate::experiment::LeftOut;
use crate::recording::{Counters, Run};

/// Reads what [`super::write()`] has written.
///
/// # Errors
///
/// What is wrong, with the number of the line; also if the counts are not those of the verdicts.
pub fn parse(text: &str) -> Result<Page, String> {
    let lines = unfold(text);
    let mut paragraphs = lines.split(|(_, line)| line.is_empty());
    let title: Vec<&str> = paragraphs.next().unwrap_or_default().iter().map(|(_, line)| line.as_str()).collect();
    let [scenario, legend @ ..] = title.as_slice() else { return Err("the scenario's name is missing".to_owned()) };
    if legend != LEGEND {
        return Err(format!("{scenario}: another legend than {LEGEND:?}"));
    }
    let mut reader = Reader::default();
    for (index, paragraph) in paragraphs.enumerate() {
        let Some((number, first)) = paragraph.first() else { return Err("two blank lines".to_owned()) };
        if index == 0 || first.starts_with('[') {
            reader.close()?;
            reader.head(paragraph)?;
        } else {
            reader.heading(first).map_err(|error| format!("line {number}: {error}"))?;
            for (number, line) in &paragraph[1..] {
                reader.line(line).map_err(|error| format!("line {number}: {error}"))?;
            }
        }
    }
    reader.close()?;
    Ok(Page { scenario: (*scenario).to_owned(), sections: reader.done })
}

#[derive(Default)]
struct Reader {
    /// The sections of the variants before.
    done: Vec<Section>,
    /// Those of the present one.
    open: Vec<Section>,
    /// The letters of each open section's columns.
    letters: Vec<Vec<char>>,
    /// The present function.
    name: String,
    offsets: Vec<u64>,
    /// The kinds of interruption that the present lines are of, by their places among the open sections.
    track: Vec<usize>,
}

/// Reads what follows the number of points: nothing, or how many arrivals were not judged.
fn left_out(text: &str) -> Option<LeftOut> {
    if text.is_empty() {
        return Some(LeftOut::default());
    }
    let (arrivals, rest) = text.strip_prefix("; ")?.split_once(" arrivals not judged")?;
    let other_states = match rest.strip_prefix(", ") {
        Some(states) => states.strip_suffix(" of them in states that no point has")?.parse().ok()?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(LeftOut { arrivals: arrivals.parse().ok()?, other_states })
}

/// A kind's places among the open sections.
fn kind(sections: &[Section], name: &str) -> Result<usize, String> {
    let found = sections.iter().position(|section| section.interrupt == name && section.void.is_none());
    found.ok_or_else(|| format!("{name:?} is no kind of interruption that the counts name"))
}

impl Reader {
    /// Ends a variant.
    fn close(&mut self) -> Result<(), String> {
        for mut section in self.open.drain(..) {
            let place = format!("{} {}", section.variant.as_deref().unwrap_or_default(), section.interrupt);
            let mut counters = vec![Counters::default(); section.subjects.len()];
            for instruction in section.functions.iter_mut().flat_map(|function| &mut function.instructions) {
                for (runs, counters) in instruction.runs.iter_mut().zip(&mut counters) {
                    merge(runs);
                    runs.iter().for_each(|run| counters.add(run.verdict, run.reachable, run.last - run.first + 1));
                }
            }
            for (subject, counters) in section.subjects.iter_mut().zip(counters) {
                subject.counters.masked = counters.masked;
                if subject.counters != counters {
                    let label = crate::subject::label(&subject.name, subject.start);
                    return Err(format!("{place}: the counts of {label} are not those of its verdicts: {counters:?}"));
                }
            }
            self.done.push(section);
        }
        Ok(())
    }

    /// The first paragraph of a variant.
    fn head(&mut self, lines: &[(usize, String)]) -> Result<(), String> {
        let mut variant = None;
        let mut counts = Vec::new();
        for (number, line) in lines {
            let at = |error: String| format!("line {number}: {error}");
            if let Some(name) = line.strip_prefix('[') {
                variant = Some(name.strip_suffix(']').ok_or_else(|| at("a bracket is open".to_owned()))?.to_owned());
            } else if *line == Count::head() {
                // Column names, for human readers alone.
            } else if Count::is_count(line) {
                counts.push(Count::read(line).map_err(at)?);
            } else {
                self.kind(line, variant.as_ref()).map_err(at)?;
            }
        }
        self.letters.clear();
        for section in &mut self.open {
            let mine = counts.iter().filter(|count| section.void.is_none() && count.kinds.contains(&section.interrupt));
            let mut columns: Vec<(char, Start, Subject)> = Vec::new();
            for count in mine {
                columns.extend(count.starts.iter().map(|start| {
                    let Count { subject, counters, reads_outside_stacks, .. } = count;
                    let (name, counters, reads_outside_stacks) = (subject.clone(), *counters, *reads_outside_stacks);
                    (count.letter, *start, Subject { name, start: *start, counters, reads_outside_stacks })
                }));
            }
            columns.sort_by_key(|(letter, start, _)| (*letter, *start));
            self.letters.push(columns.iter().map(|(letter, _, _)| *letter).collect());
            section.subjects = columns.into_iter().map(|(_, _, subject)| subject).collect();
        }
        Ok(())
    }

    /// A line that says something of a kind of interruption as a whole.
    fn kind(&mut self, line: &str, variant: Option<&String>) -> Result<(), String> {
        let wrong = || format!("{line:?} is not of the form `irq: 3 points at 2 instructions`");
        let (name, rest) = line.split_once(": ").ok_or_else(wrong)?;
        let new = Section { variant: variant.cloned(), interrupt: name.to_owned(), ..Section::default() };
        if let Some(reason) = rest.strip_prefix("void: ") {
            self.open.push(Section { void: Some(reason.to_owned()), ..new });
        } else if let Some((points, rest)) = rest.split_once(" points at ") {
            let (distinct_pcs, rest) = rest.split_once(" instructions").ok_or_else(wrong)?;
            let (points, distinct_pcs) = (points.parse().ok(), distinct_pcs.parse().ok());
            let (points, distinct_pcs) = points.zip(distinct_pcs).ok_or_else(wrong)?;
            let left_out = left_out(rest).ok_or_else(wrong)?;
            self.open.push(Section { points, distinct_pcs, left_out, ..new });
        } else if let Some(outer) = rest.strip_prefix("nested in ") {
            let (folded, all) = outer.split_once(" of ").ok_or_else(wrong)?;
            let all = all.split(' ').next().unwrap_or_default();
            let section = kind(&self.open, name)?;
            let number = |text: &str| text.parse().map_err(|_| wrong());
            self.open[section].outer = Some((number(all)?, number(folded)?));
        } else if let Some(waiting) = rest.strip_prefix("unwitnessed: ") {
            let section = kind(&self.open, name)?;
            for part in waiting.split(", ") {
                let (place, count) = part.rsplit_once(" x").ok_or_else(wrong)?;
                self.open[section].unwitnessed.push((place.to_owned(), count.parse().map_err(|_| wrong())?));
            }
        } else {
            return Err(wrong());
        }
        Ok(())
    }

    /// The first line of a function.
    fn heading(&mut self, line: &str) -> Result<(), String> {
        let (name, steps) = match line.split_once(": steps ") {
            Some((name, steps)) => (name, range::read_steps(steps)?),
            None => (line.strip_suffix(':').ok_or("a function's name is missing")?, Vec::new()),
        };
        name.clone_into(&mut self.name);
        self.offsets = vec![0];
        for step in steps {
            let offset = self.offsets.last().and_then(|last| last.checked_add(step)).ok_or("steps too far")?;
            self.offsets.push(offset);
        }
        self.track.clear();
        Ok(())
    }

    /// Any other line of a function.
    fn line(&mut self, line: &str) -> Result<(), String> {
        if !line.trim_start().starts_with('+') {
            return self.columns(line);
        }
        let shapes = |name: &str| {
            let index = kind(&self.open, name)?;
            if self.track.contains(&index) { Ok(self.shape(index)) } else { Err(format!("{name} has no columns here")) }
        };
        let line = Line::read(line, &shapes)?;
        let place =
            |offset: u64| self.offsets.binary_search(&offset).map_err(|_| format!("no instruction at {offset:#x}"));
        let (first, last) = (place(line.first)?, place(line.last)?);
        for group in &line.groups {
            for (name, masked) in &group.kinds {
                let section = kind(&self.open, name)?;
                if !self.track.contains(&section) {
                    return Err(format!("{name} has no columns here"));
                }
                let columns = self.columns_of(section, group)?;
                let function = self.open[section].functions.last_mut().ok_or("no function")?;
                for instruction in function.instructions.get_mut(first..=last).ok_or("a range that falls")? {
                    add(instruction, group, *masked, &columns);
                }
            }
        }
        Ok(())
    }

    /// The line above the verdicts: which kinds of interruption, starts and columns they are of.
    fn columns(&mut self, line: &str) -> Result<(), String> {
        let (who, letters) = line.split_once("| ").ok_or("no bar")?;
        let mut who = who.split_whitespace();
        let kinds = who.next().unwrap_or_default().split(',').map(|name| kind(&self.open, name));
        self.track = kinds.collect::<Result<_, _>>()?;
        let starts: Vec<&str> = who.collect();
        for &index in &self.track {
            let shape = self.shape(index);
            let expected: Vec<&str> = shape.iter().map(|(_, letters)| letters.as_str()).collect();
            let expected_starts: Vec<String> = shape.iter().map(|(start, _)| format!("@{}", start.name())).collect();
            if letters != expected.join(" ") || starts != expected_starts {
                return Err(format!("the columns should be {expected_starts:?} {expected:?}"));
            }
            let instructions = self.offsets.iter().map(|offset| Instruction {
                offset: *offset,
                visits: 0,
                split: false,
                addresses: Vec::new(),
                runs: Vec::new(),
            });
            let function = Function { name: self.name.clone(), instructions: instructions.collect() };
            self.open[index].functions.push(function);
        }
        Ok(())
    }

    /// An open section's starts, and the letters of their columns.
    fn shape(&self, section: usize) -> Vec<(Start, String)> {
        let mut shape: Vec<(Start, String)> = Vec::new();
        for (subject, letter) in self.open[section].subjects.iter().zip(&self.letters[section]) {
            match shape.iter_mut().find(|(start, _)| *start == subject.start) {
                Some((_, letters)) => letters.push(*letter),
                None => shape.push((subject.start, letter.to_string())),
            }
        }
        shape.sort();
        shape
    }

    /// The places of a group's cells among a section's subjects; and how many subjects there are.
    fn columns_of(&self, section: usize, group: &Group) -> Result<(Vec<usize>, usize), String> {
        let (subjects, letters) = (&self.open[section].subjects, &self.letters[section]);
        let Part { start: only, letters: some } = &group.part;
        let mut columns = Vec::new();
        for (start, _) in self.shape(section) {
            if only.is_none_or(|only| only == start) {
                columns.extend((0..subjects.len()).filter(|column| {
                    subjects[*column].start == start && (some.is_empty() || some.contains(letters[*column]))
                }));
            }
        }
        let cells = group.blocks.iter().flatten().count();
        if group.blocks.is_empty() {
            columns.clear();
        }
        if cells == columns.len() { Ok((columns, subjects.len())) } else { Err("kinds with other columns".to_owned()) }
    }
}

/// Puts runs in order, and together what belongs together.
fn merge(runs: &mut Vec<Run>) {
    runs.sort_by_key(|run| run.first);
    runs.dedup_by(|next, run| {
        let goes_on = (run.verdict, run.reachable, run.last + 1) == (next.verdict, next.reachable, next.first);
        if goes_on {
            run.last = next.last;
        }
        goes_on
    });
}

/// Adds what a group says to an instruction.
fn add(instruction: &mut Instruction, group: &Group, masked: bool, (columns, all): &(Vec<usize>, usize)) {
    instruction.visits = group.visits;
    instruction.split = group.split;
    let places = group.places.iter().map(|run| Displaced {
        lost: is_lost(&run.places),
        places: run.places.clone(),
        first: run.first,
        last: run.last,
    });
    // They may stand on a line of their own.
    if !group.places.is_empty() {
        instruction.addresses = places.collect();
    }
    instruction.runs.resize(*all, Vec::new());
    for (cell, column) in group.blocks.iter().flatten().zip(columns) {
        let mut arrivals = group.arrivals.iter().copied();
        let mut open = arrivals.next();
        for stretch in cell {
            let mut left = stretch.count;
            // A cell has as many arrivals as its group: the reader of lines has seen to it.
            while let Some((first, last)) = open.filter(|_| left > 0) {
                let end = last.min(first + left - 1);
                if let Some(verdict) = stretch.verdict {
                    instruction.runs[*column].push(Run { verdict, reachable: !masked, first, last: end });
                }
                left -= end - first + 1;
                open = if end < last { Some((end + 1, last)) } else { arrivals.next() };
            }
        }
    }
}

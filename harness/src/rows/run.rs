//! One undisturbed run in which every table is asked before each instruction: about the running function, and about every
//! function that waits for a call to return.

use std::collections::BTreeMap;
use std::ops::Range;

use super::FORMATS;
use super::asked::Site;
use super::follow::{Follow, Judge};
use super::levels::Levels;
use super::site;
use crate::cpu::Regs;
use crate::guest::Program;
use crate::recording::rows::{FunctionRows, Level, UnreadData};
use crate::trace::Point;

/// Why a row was not judged.
const NO_CALLER: &str = "no call led here: the function was entered by a jump, at the base of its stack";

/// What is written before a deviation in a function that waits for a call to return.
const WAITING: &str = "(while it waits for its call to return) ";

/// Judges the rows of a run.
pub(super) struct Rows<'p> {
    program: &'p Program,
    /// The instructions that ran, by address.
    sites: BTreeMap<u64, Site>,
    levels: Levels,
    /// The addresses of code that is in no total.
    left_out: Range<u64>,
}

/// What a finished run has found.
pub(super) struct Found {
    /// How often an instruction was about to run.
    pub(super) points: u64,
    /// How many instructions ran.
    pub(super) distinct_pcs: usize,
    pub(super) levels: BTreeMap<String, Level>,
    pub(super) functions: Vec<FunctionRows>,
    pub(super) unread: Vec<UnreadData>,
    pub(super) outside_functions: usize,
}

impl<'p> Rows<'p> {
    pub(super) fn new(program: &'p Program, left_out: Range<u64>) -> Self {
        Self { program, sites: BTreeMap::new(), levels: Levels::new(program), left_out }
    }

    /// What was found. `only_run`: functions that did not run are left out: of somebody's library, most do not.
    pub(super) fn finish(self, only_run: bool) -> Found {
        let Self { program, sites, levels, left_out } = self;
        let (unread, outside_functions) = site::strays(program, &sites);
        let theirs = || sites.iter().filter(|(address, _)| !left_out.contains(address));
        let ran = || theirs().map(|(_, site)| site.points).filter(|points| *points > 0);
        Found {
            points: ran().sum(),
            distinct_pcs: ran().count(),
            levels: levels.finish(program),
            functions: site::functions(program, &sites, only_run),
            unread,
            outside_functions,
        }
    }
}

impl Judge for Rows<'_> {
    fn point(&mut self, follow: &mut Follow<'_>, at: &Point<'_>, regs: &Regs) {
        let Self { program, sites, levels, left_out } = self;
        let (program, is_known) = (*program, follow.is_stack_known());
        let is_counted = !left_out.contains(&at.pc);
        follow.running(at, regs, |frame, target, truth| {
            let site = sites.entry(at.pc).or_insert_with(|| Site::new(program, at.pc));
            site.points += 1;
            site.frame_pointer =
                [site.frame_pointer, frame.by_frame_pointer()].into_iter().flatten().reduce(|all, now| all && now);
            for (index, asked) in site.asked.iter_mut().enumerate() {
                let table = program.tables.get(FORMATS[index]);
                let entry = asked.entry().copied().zip(table);
                let judgement = entry.map(|(entry, table)| frame.judge(table, at.pc, &entry));
                if is_counted {
                    let is_right = levels.note(index, &asked.data, judgement.as_ref());
                    if table.is_some() && is_known {
                        levels.walk(index, (at.pc, regs), target, truth, is_right);
                    }
                }
                if let Some(judgement) = judgement {
                    asked.note(judgement, "", NO_CALLER);
                }
            }
        });
        follow.each_waiting(at, |place, frame| {
            let Some(site) = sites.get_mut(&place.instruction) else { return };
            for (format, asked) in FORMATS.into_iter().zip(&mut site.asked) {
                let Some(table) = program.tables.get(format) else { continue };
                if let Ok(Some(entry)) = table.entry(place.pc) {
                    asked.note(frame.judge(table, place.pc, &entry), WAITING, NO_CALLER);
                }
            }
        });
    }
}

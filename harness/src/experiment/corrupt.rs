//! Corrupt stacks: each frame record of the true chain is damaged in each of several ways, on a copy, and every subject walks.
//! A walk need not be right then; but it must not claim to be right when it is wrong, and it must end.

use std::ops::ControlFlow;

use super::arrival::Sites;
use super::{Arrival, Column, Visit};
use crate::oracle::Truth;
use crate::subject::{GuestTarget, KunwindSubject, Question, Subject as _};

/// One way to damage a frame record, whose words are the caller's frame pointer and the return address.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit of the frame pointer is flipped, so that it points at other stack memory.
    Flip,
    /// Both words are zero, as in a metadata record or at the end of the chain.
    Truncate,
    /// The frame pointer points at its own record.
    Loop,
    /// The frame pointer is misaligned.
    Misalign,
    /// The frame pointer is the next record's: a frame is left out.
    Shortcut,
}

impl Damage {
    const ALL: [Self; 5] = [Self::Flip, Self::Truncate, Self::Loop, Self::Misalign, Self::Shortcut];

    /// The changed words of the record at `at`; `None` if a word cannot be read.
    fn words(self, at: u64, own_fp: u64, target: &GuestTarget<'_>) -> Option<Vec<(u64, u64)>> {
        let fp = target.memory.read_u64(at)?;
        Some(match self {
            Self::Flip => vec![(at, fp ^ 0x20)],
            Self::Truncate => vec![(at, 0), (at + 8, 0)],
            Self::Loop => vec![(at, own_fp)],
            Self::Misalign => vec![(at, fp | 4)],
            Self::Shortcut => {
                let abi = target.program.guest.cpu.abi;
                let next = target.memory.read_u64(fp.wrapping_add_signed(abi.frame_record.offset_from_fp))?;
                vec![(at, next)]
            }
        })
    }
}

/// Asks every subject on every damaged copy. Each copy is an arrival of its own at the point's instruction.
pub(super) fn ask_all(
    visit: &mut dyn Visit,
    sites: &mut Sites<'_>,
    columns: &[Column<'_>],
    at: Arrival,
    question: &Question<'_>,
    truth: &Truth,
) {
    let Question { pc, regs, target, .. } = *question;
    let cpu = target.program.guest.cpu;
    let offset = cpu.abi.frame_record.offset_from_fp;
    // The records of the undamaged chain, by the plainest walk: each entry's frame pointer leads to the next record.
    let mut records = Vec::new();
    let _ = KunwindSubject::frame_record(cpu).walk(question, &mut |entry| {
        records.extend(entry.regs.get(cpu.abi.fp).map(|fp| fp.wrapping_add_signed(offset)));
        ControlFlow::Continue(())
    });
    records.pop(); // the last entry led nowhere
    for column in columns {
        visit.walk(at, None, column, question, truth); // undamaged
    }
    let mut last = at;
    for record in records {
        for damage in Damage::ALL {
            let own_fp = record.wrapping_add_signed(-offset);
            let Some(words) = damage.words(record, own_fp, target) else { continue };
            last = sites.arrive_again(last);
            let damaged = target.with_changed(&words);
            let question = Question::new(pc, regs, &damaged);
            for column in columns {
                visit.walk(last, None, column, &question, truth);
            }
        }
    }
}

//! Stacks that are not what they should be: each frame record of the true chain is damaged in each of these ways, on a copy,
//! and every subject walks. Nobody has to be right then; but nobody may be wrong and claim to be right, nor fail to end.

use kunwind::{Frame, Source};

use super::record::{Arrival, Recorder};
use crate::oracle::Truth;
use crate::subject::{Live, Subject};
use crate::sweep::Trial;

/// One way to damage a frame record, whose words are the caller's frame pointer and the return address.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit of the frame pointer, so that it points at other stack memory.
    Flip,
    /// Both words are zero, as in a metadata record or at the end.
    Truncate,
    /// The frame pointer is the record's own.
    Loop,
    /// The frame pointer is misaligned.
    Misalign,
    /// The frame pointer is the next one but one: a frame is left out.
    Shortcut,
}

impl Damage {
    const ALL: [Self; 5] = [Self::Flip, Self::Truncate, Self::Loop, Self::Misalign, Self::Shortcut];

    /// The changed words of the record at `at`; nothing where the damage is none.
    fn words(self, at: u64, own_fp: u64, live: &Live<'_>) -> Option<Vec<(u64, u64)>> {
        let fp = live.memory.read_u64(at)?;
        Some(match self {
            Self::Flip => vec![(at, fp ^ 0x20)],
            Self::Truncate => vec![(at, 0), (at + 8, 0)],
            Self::Loop => vec![(at, own_fp)],
            Self::Misalign => vec![(at, fp | 4)],
            Self::Shortcut => {
                let abi = live.guest.arch.abi();
                let next = live.memory.read_u64(fp.wrapping_add_signed(abi.frame_record.offset_from_fp))?;
                vec![(at, next)]
            }
        })
    }
}

/// Judges every subject on every damaged copy. Each copy is an arrival of its own at the point's instruction.
pub(super) fn judge_all(recorder: &mut Recorder<'_>, at: Arrival, start: Frame, live: &Live<'_>, truth: &Truth) {
    let prepared = recorder.prepared;
    let offset = live.guest.arch.abi().frame_record.offset_from_fp;
    // The records of the undamaged chain, by the plainest walk there is.
    let plain = Subject::frame_record(live.guest.arch);
    let trial = Trial { subject: &plain, prepared, omissible: &[] };
    let mut buffer = vec![super::NOWHERE; plain.limit];
    let records: Vec<u64> = trial
        .walk(start, live, &mut buffer)
        .frames
        .iter()
        .filter_map(|frame| match frame.source {
            Source::FrameRecord { at } => Some(at),
            _ => None,
        })
        .collect();
    recorder.judge_all(at, start, live, truth); // undamaged
    for record in records {
        for damage in Damage::ALL {
            let own_fp = record.wrapping_add_signed(-offset);
            let Some(words) = damage.words(record, own_fp, live) else { continue };
            recorder.arrive_again(at.site);
            recorder.judge_all(at, start, &live.with_changed(&words), truth);
        }
    }
}

//! Reads log files. Malformed input is an error, never a panic.

use super::{Head, MAGIC, PARTIAL_MAGIC};
use crate::guest::PAGE;

/// The bytes of a log, read from front to back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) all: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, String> {
        let byte = self.all.get(self.at).copied().ok_or_else(|| self.cut_off())?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, size: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(size).ok().and_then(|size| self.at.checked_add(size));
        let taken = end.and_then(|end| self.all.get(self.at..end)).ok_or_else(|| self.cut_off())?;
        self.at += taken.len();
        Ok(taken)
    }

    /// Eight bytes, little endian.
    fn fixed(&mut self) -> Result<u64, String> {
        Ok(self.take(8)?.try_into().map(u64::from_le_bytes).unwrap_or_default())
    }

    pub(super) fn number(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(format!("the number before byte {} has more than 64 bits", self.at))
    }

    /// A number encoded as its difference from another.
    pub(super) fn relative(&mut self, from: u64) -> Result<u64, String> {
        let zigzag = self.number()?;
        let difference = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        Ok(from.wrapping_add_signed(difference))
    }

    pub(super) fn array(&mut self) -> Result<&'a [u8], String> {
        let size = self.number()?;
        self.take(size)
    }

    fn text(&mut self) -> Result<String, String> {
        let at = self.at;
        String::from_utf8(self.array()?.to_vec()).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }

    pub(super) fn pages(&mut self) -> Result<Vec<(u64, &'a [u8])>, String> {
        let count = self.number()?;
        let mut pages = Vec::new();
        for _ in 0..count {
            let address = self.number()?;
            if !address.is_multiple_of(PAGE) {
                return Err(format!("the page before byte {} has the address {address:#x}", self.at));
            }
            pages.push((address, self.take(PAGE)?));
        }
        Ok(pages)
    }

    fn cut_off(&self) -> String {
        format!("truncated at byte {}", self.all.len())
    }
}

/// The state before an event in the middle of a run.
#[derive(Debug, Clone)]
pub(super) struct Keyframe {
    /// How many points precede it.
    pub(super) points: u64,
    /// The offset of the next event, in bytes.
    pub(super) event: usize,
    pub(super) pc: u64,
    pub(super) store: u64,
    pub(super) is_user: bool,
    pub(super) status: u64,
    pub(super) values: Vec<u64>,
    /// Every page written so far.
    pub(super) pages: Vec<(u64, Vec<u8>)>,
}

/// A recorded run.
#[derive(Debug, Clone)]
pub struct Log {
    /// Which run it records.
    pub head: Head,
    /// The lasting words after an undisturbed run.
    pub undisturbed: Vec<u64>,
    /// The writable pages at the start.
    pub(super) pages: Vec<(u64, Vec<u8>)>,
    pub(super) events: Vec<u8>,
    pub(super) keyframes: Vec<Keyframe>,
}

/// The logs in a file.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// The runs that it holds.
    pub logs: Vec<Log>,
    /// How many it should hold, if it is not whole.
    pub partial_of: Option<u64>,
}

impl LogFile {
    /// How many bytes [`LogFile::require_magic`] needs.
    pub const MAGIC_SIZE: u64 = MAGIC.len() as u64;

    /// Whether a file that begins with these bytes can be one of logs. A large file that is something else need not be read.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn require_magic(start: &[u8]) -> Result<(), String> {
        if start.starts_with(MAGIC) || start.starts_with(PARTIAL_MAGIC) {
            return Ok(());
        }
        let expected = String::from_utf8_lossy(MAGIC);
        Err(format!("it does not begin with {expected}: not a log, or a log of another version"))
    }

    /// Parses a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        Self::require_magic(file)?;
        let mut bytes = Bytes { all: file, at: MAGIC.len() };
        let partial_of = if file.starts_with(PARTIAL_MAGIC) { Some(bytes.fixed()?) } else { None };
        let mut logs = Vec::new();
        while bytes.at < file.len() {
            let at = bytes.at;
            let size = bytes.fixed()?;
            let run = bytes.take(size)?;
            logs.push(Log::read(run).map_err(|reason| format!("the run at byte {at}: {reason}"))?);
        }
        Ok(Self { logs, partial_of })
    }

    /// The bytes of a file that does not hold all of the `of` runs that it should.
    #[must_use]
    pub fn partial(logs: &[Vec<u8>], of: u64) -> Vec<u8> {
        let mut file = PARTIAL_MAGIC.to_vec();
        file.extend(of.to_le_bytes());
        append(&mut file, logs);
        file
    }
}

/// Appends logs, each as [`super::LogWriter::finish`] gave it.
fn append(file: &mut Vec<u8>, logs: &[Vec<u8>]) {
    for log in logs {
        file.extend((log.len() as u64).to_le_bytes());
        file.extend_from_slice(log);
    }
}

impl Log {
    /// Parses the logs in a file that is whole.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn read_all(file: &[u8]) -> Result<Vec<Self>, String> {
        let LogFile { logs, partial_of } = LogFile::read(file)?;
        match partial_of {
            None => Ok(logs),
            Some(of) => Err(format!("it is partial: it holds {} of {of} runs", logs.len())),
        }
    }

    /// The bytes of a whole file with these logs, each as [`super::LogWriter::finish`] gave it.
    #[must_use]
    pub fn file(logs: &[Vec<u8>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        append(&mut file, logs);
        file
    }

    fn read(run: &[u8]) -> Result<Self, String> {
        let mut bytes = Bytes { all: run, at: 0 };
        let [scenario, source, variant, interrupt, guest] =
            [bytes.text()?, bytes.text()?, bytes.text()?, bytes.text()?, bytes.text()?];
        let head = Head { scenario, source, variant, interrupt, guest, file: bytes.array()?.to_vec() };
        let words = bytes.number()?;
        let words = bytes.take(words.saturating_mul(8))?.chunks_exact(8);
        let undisturbed = words.map(|word| word.try_into().map(u64::from_le_bytes).unwrap_or_default()).collect();
        let pages = owned(bytes.pages()?);
        let events = bytes.array()?.to_vec();
        let mut keyframes = Vec::new();
        for _ in 0..bytes.number()? {
            keyframes.push(keyframe(&mut bytes)?);
        }
        if bytes.at != run.len() {
            return Err(format!("there is data after its end at byte {}", bytes.at));
        }
        Ok(Self { head, undisturbed, pages, events, keyframes })
    }
}

fn owned(pages: Vec<(u64, &[u8])>) -> Vec<(u64, Vec<u8>)> {
    pages.into_iter().map(|(address, bytes)| (address, bytes.to_vec())).collect()
}

fn keyframe(bytes: &mut Bytes<'_>) -> Result<Keyframe, String> {
    let (points, event, pc) = (bytes.number()?, bytes.number()?, bytes.number()?);
    let (store, is_user, status) = (bytes.number()?, bytes.number()? != 0, bytes.number()?);
    let mut values = Vec::new();
    for _ in 0..bytes.number()? {
        values.push(bytes.number()?);
    }
    let event = usize::try_from(event).map_err(|_| "a keyframe lies beyond the events".to_owned())?;
    Ok(Keyframe { points, event, pc, store, is_user, status, values, pages: owned(bytes.pages()?) })
}

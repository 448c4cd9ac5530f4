//! Every rule, for every function and row: all that is wrong with a section, and how much it matters to which reader.

use core::ops::Range;

use super::error::{Error, ErrorKind, Field};
use super::fde::Fde;
use super::format::{PcType, SFrameAbi, Version};
use super::header::Header;
use super::rule;
use super::section::SFrameSection;

/// Whose rules a section is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The specification, strictly.
    Spec,
    /// The specification, except for what changes nothing: bits without meaning, and what linkers leave after the data.
    Lenient,
    /// The kernel's reader of user space sections (version 15 of the series in review): what it refuses is an error,
    /// everything else is a note.
    Kernel,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The section does not follow the rules.
    Error,
    /// The section follows the rules, but this is worth knowing.
    Note,
}

/// One remark on a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub error: Error,
}

/// What is known of the file that the section is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The address of the section, where it is known.
    pub address: Option<u64>,
    /// The addresses of code; none when they are not known.
    pub text: &'a [Range<u64>],
    /// The ABI that the section must have.
    pub abi: Option<SFrameAbi>,
}

/// Looks at everything in a section, and reports all that is wrong. The time it takes is bounded by the size of the
/// section.
///
/// It does not look for overlapping functions in an index that is not sorted.
pub fn validate(data: &[u8], surroundings: &Surroundings<'_>, profile: Profile, report: &mut dyn FnMut(Finding)) {
    let mut report = |error: Error, is_harmless: bool| {
        if let Some(severity) = severity(profile, error.kind, is_harmless) {
            report(Finding { severity, error });
        }
    };
    let header = match Header::read(data) {
        Ok(header) => header,
        Err(error) => return report(error, false),
    };
    let mut is_whole = true;
    header.check(data.len(), &mut |error| {
        is_whole &= !matches!(error.kind, ErrorKind::OutOfBounds | ErrorKind::SubsectionOverlap);
        report(error, false);
    });
    check_reader(&header, profile, &mut report);
    if let Some(abi) = surroundings.abi
        && abi != header.abi
    {
        report(Error::new(ErrorKind::AbiMachineMismatch, Field::AbiArch, 4, header.abi.number().into()), false);
    }
    // Where the parts overlap or are cut off, it cannot be told what belongs to which.
    if is_whole {
        let section = SFrameSection::new(data, surroundings.address, header);
        Validator { section, text: surroundings.text, report: &mut report, rows: 0, before: None }.run();
    }
}

/// How much a finding matters; nothing where the profile has no such rule. A harmless finding means that a part is
/// ignored.
const fn severity(profile: Profile, kind: ErrorKind, is_harmless: bool) -> Option<Severity> {
    use ErrorKind as Kind;
    use Severity::{Error, Note};
    let (spec, lenient, kernel) = match kind {
        // Nothing can be wrong with no data; but the kernel wants a header.
        Kind::Empty => (Some(Note), Some(Note), Some(Error)),
        // The format allows it; one reader does not support it.
        Kind::MissingSorted | Kind::MissingPcrel | Kind::UnsupportedAuxHeader | Kind::NoData => {
            (None, None, Some(Error))
        }
        Kind::Duplicate | Kind::FresExceedSize if is_harmless => (Some(Note), Some(Note), Some(Error)),
        // The ABI may have a register with this DWARF number, but no unwinder follows it.
        Kind::BadRegister if is_harmless => (Some(Note), Some(Note), Some(Note)),
        Kind::ReservedBits | Kind::TrailingData => (Some(Error), Some(Note), Some(Note)),
        Kind::BadControlWord if is_harmless => (Some(Error), Some(Note), Some(Note)),
        // Rules of the format that the kernel does not check.
        Kind::UnknownFlags
        | Kind::UnsupportedAbi
        | Kind::EndianMismatch
        | Kind::AbiMachineMismatch
        | Kind::BadFixedOffset
        | Kind::CountMismatch
        | Kind::Overlap
        | Kind::BadRegister
        | Kind::BadOffset => (Some(Error), Some(Error), Some(Note)),
        _ => (Some(Error), Some(Error), Some(Error)),
    };
    match profile {
        Profile::Spec => spec,
        Profile::Lenient => lenient,
        Profile::Kernel => kernel,
    }
}

/// What one reader requires beyond the format: the kernel's version, flags and counts.
fn check_reader(header: &Header, profile: Profile, report: &mut dyn FnMut(Error, bool)) {
    let mut report = |kind, field, offset, value| report(Error::new(kind, field, offset, value), false);
    if profile == Profile::Kernel && header.version != Version::V3 {
        report(ErrorKind::UnsupportedVersion, Field::Version, 2, header.version.number().into());
    }
    let flags = [(header.is_sorted(), ErrorKind::MissingSorted), (header.is_pcrel(), ErrorKind::MissingPcrel)];
    for (_, kind) in flags.into_iter().filter(|(is_set, _)| !is_set) {
        report(kind, Field::Flags, 3, header.flags.into());
    }
    if header.aux_header_len != 0 {
        report(ErrorKind::UnsupportedAuxHeader, Field::AuxHeaderLength, 7, header.aux_header_len.into());
    }
    if header.num_fdes == 0 {
        report(ErrorKind::NoData, Field::NumFdes, 8, 0);
    }
    if header.num_fres == 0 {
        report(ErrorKind::NoData, Field::NumFres, 12, 0);
    }
}

/// A row takes a start and an info byte at least.
const MIN_ROW_SIZE: u64 = 2;

struct Validator<'a, 'r> {
    section: SFrameSection<'a>,
    text: &'a [Range<u64>],
    /// Takes the error, and whether it is harmless.
    report: &'r mut dyn FnMut(Error, bool),
    /// The rows of the functions so far.
    rows: u64,
    /// The function before this one in a sorted index: its start and size, and the greatest end of all before.
    before: Option<(i128, u32, i128)>,
}

impl Validator<'_, '_> {
    fn report(&mut self, kind: ErrorKind, field: Field, offset: usize, value: u64) {
        (self.report)(Error::new(kind, field, offset, value), false);
    }

    fn run(&mut self) {
        let header = self.section.header;
        let mut all_read = true;
        for index in 0..header.num_fdes {
            match self.section.read_function(index) {
                Ok(function) => self.check_function(&function),
                Err(error) => {
                    all_read = false;
                    (self.report)(error, false);
                }
            }
        }
        if all_read && self.rows != u64::from(header.num_fres) {
            self.report(ErrorKind::CountMismatch, Field::NumFres, 12, header.num_fres.into());
        }
        self.check_tail();
    }

    /// Linkers pad with zeros. No reader reaches anything else.
    fn check_tail(&mut self) {
        if let Some((offset, is_section)) = self.section.tail() {
            let field = if is_section { Field::SecondHeader } else { Field::Tail };
            let byte = self.section.bytes.u8(offset).unwrap_or_default();
            self.report(ErrorKind::TrailingData, field, offset, byte.into());
        }
    }

    fn check_function(&mut self, function: &Fde<'_>) {
        let mut has_rows = true;
        let mut has_address = true;
        function.check(&mut |error| {
            has_rows &= matches!(error.kind, ErrorKind::AddressOverflow | ErrorKind::BadRepSize);
            has_address &= error.kind != ErrorKind::AddressOverflow;
            (self.report)(error, false);
        });
        self.check_reserved(function);
        if has_address {
            self.check_text(function);
        }
        if self.section.header.is_sorted() {
            self.check_order(function);
        }
        if function.num_fres() > function.size() {
            // GNU as writes a row for a function without code.
            let is_harmless = function.size() == 0 && function.num_fres() == 1;
            let offset = function.attribute;
            let error = Error::new(ErrorKind::FresExceedSize, Field::FuncNumFres, offset, function.num_fres().into());
            (self.report)(error, is_harmless);
        }
        // Rows that several functions share are counted for each, and walked only as often as there is room for that
        // many: otherwise a small section could take a very long time.
        let has_room = self.rows * MIN_ROW_SIZE <= self.section.header.fre_len.into();
        self.rows += u64::from(function.num_fres());
        if has_rows && has_room {
            self.check_rows(function);
        }
    }

    fn check_reserved(&mut self, function: &Fde<'_>) {
        let header = &self.section.header;
        let unused = match header.version {
            Version::V2 => 0xc0,
            Version::V3 => 0x40,
        } | if header.abi.has_pauth() { 0 } else { 0x20 };
        if function.rows.info.info & unused != 0 {
            self.report(
                ErrorKind::ReservedBits,
                Field::FuncInfo,
                function.info_offset(),
                function.rows.info.info.into(),
            );
        }
        if function.rows.info.info2 & 0xe0 != 0 {
            self.report(
                ErrorKind::ReservedBits,
                Field::FuncInfo2,
                function.info_offset() + 1,
                function.rows.info.info2.into(),
            );
        }
        if function.pc_type() == PcType::Inc && function.rep_size != 0 {
            let offset = function.rep_size_offset();
            self.report(ErrorKind::ReservedBits, Field::RepSize, offset, function.rep_size.into());
        }
        if function.padding != 0 {
            let offset = function.rep_size_offset() + 1;
            self.report(ErrorKind::ReservedBits, Field::FuncPadding, offset, function.padding.into());
        }
    }

    fn check_text(&mut self, function: &Fde<'_>) {
        let (start, end) = (function.entry.start, function.entry.start + i128::from(function.size()));
        let holds = |text: &Range<u64>| i128::from(text.start) <= start && end <= i128::from(text.end);
        if self.text.is_empty() || self.text.iter().any(holds) {
            return;
        }
        let starts_inside = self.text.iter().any(|text| text.contains(&function.start()));
        if starts_inside {
            let offset = function.size_offset();
            self.report(ErrorKind::FunctionOutsideText, Field::FuncSize, offset, function.size().into());
        } else {
            self.report(ErrorKind::FunctionOutsideText, Field::FuncStart, function.offset(), function.start());
        }
    }

    fn check_order(&mut self, function: &Fde<'_>) {
        let (start, size) = (function.entry.start, function.size());
        let end = start + i128::from(size);
        let mut greatest = end;
        if let Some((before, size_before, end_before)) = self.before {
            let error = |kind| Error::new(kind, Field::FuncStart, function.offset(), function.start());
            greatest = greatest.max(end_before);
            if start < before {
                (self.report)(error(ErrorKind::NotSorted), false);
            } else if start == before {
                (self.report)(error(ErrorKind::Duplicate), size == 0 || size_before == 0);
            } else if size != 0 && start < end_before {
                (self.report)(error(ErrorKind::Overlap), false);
            }
        }
        self.before = Some((start, size, greatest));
    }

    fn check_rows(&mut self, function: &Fde<'_>) {
        let mut before = None;
        for fre in function.fres() {
            let fre = match fre {
                Ok(fre) => fre,
                Err(error) => return (self.report)(error, false),
            };
            let start = fre.start();
            if before.is_some_and(|before| before >= start) {
                (self.report)(fre.out_of_order(), false);
            }
            before = Some(start);
            match function.pc_type() {
                PcType::Inc if start > function.size() => {
                    self.report(ErrorKind::FreStartBeyondFunction, Field::FreStart, fre.offset(), start.into());
                }
                PcType::Mask if function.rep_size != 0 && start >= u32::from(function.rep_size) => {
                    self.report(ErrorKind::FreStartBeyondBlock, Field::FreStart, fre.offset(), start.into());
                }
                PcType::Inc | PcType::Mask => {}
            }
            if let Err(error) = rule::lower(&fre, &mut |error| (self.report)(error, true)) {
                (self.report)(error, false);
            }
        }
    }
}

//! The records of a BTF section.

use super::super::bytes::{i32_at, slice, string_at, u8_at, u16_at, u32_at};

/// The size of a record without what its kind adds, in bytes (`struct btf_type`).
const RECORD: usize = 12;

/// Numbers of `BTF_KIND_*` (include/uapi/linux/btf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    FunctionPrototype,
    Variable,
    DataSection,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    /// One that only the section's own layout table describes.
    Later,
}

impl Kind {
    /// By number from 1 on, each with the bytes that follow its record, once and for each of its elements.
    const ALL: [(Self, usize, usize); 19] = [
        (Self::Int, 4, 0),
        (Self::Pointer, 0, 0),
        (Self::Array, 12, 0),
        (Self::Struct, 0, 12),
        (Self::Union, 0, 12),
        (Self::Enum, 0, 8),
        (Self::Forward, 0, 0),
        (Self::Typedef, 0, 0),
        (Self::Volatile, 0, 0),
        (Self::Const, 0, 0),
        (Self::Restrict, 0, 0),
        (Self::Function, 0, 0),
        (Self::FunctionPrototype, 0, 8),
        (Self::Variable, 4, 0),
        (Self::DataSection, 0, 12),
        (Self::Float, 0, 0),
        (Self::DeclTag, 4, 0),
        (Self::TypeTag, 0, 0),
        (Self::Enum64, 0, 12),
    ];

    pub(super) const fn is_aggregate(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    /// Whether it is another type under a name, or with a qualifier.
    pub(super) const fn is_alias(self) -> bool {
        matches!(self, Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag)
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// The offset of its name.
    pub(super) name: u32,
    /// Its size in bytes, or the type that it is made of.
    pub(super) size_or_type: u32,
    /// Where its elements begin.
    at: usize,
    count: usize,
    flag: bool,
}

/// A field of a struct or union.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: u32,
    pub(super) id: u32,
    /// From the beginning of the type, in bits.
    pub(super) bit: u64,
    /// Of a bit field, in bits; else 0.
    pub(super) bit_size: u32,
}

/// All records and their strings.
#[derive(Debug)]
pub(super) struct Types {
    records: Vec<u8>,
    strings: Vec<u8>,
    /// Where each record begins; the first is `void`, which has none.
    starts: Vec<u32>,
}

impl Types {
    pub(super) fn parse(data: &[u8]) -> Result<Self, String> {
        if data.get(..4) != Some(&super::MAGIC) {
            return Err("BTF: wrong magic or version".to_owned());
        }
        let word = |at: usize| u32_at(data, at).map(|word| word as usize).ok_or("BTF: the header is truncated");
        let header = word(4)?;
        if header < 24 {
            return Err(format!("BTF: a header of {header} bytes"));
        }
        let section = |at: usize, name: &str| {
            let start = header.checked_add(word(at)?).ok_or("BTF: the header is impossible")?;
            slice(data, start, word(at + 4)?).ok_or_else(|| format!("BTF: its {name} reach beyond its end: truncated?"))
        };
        let (records, strings) = (section(8, "types")?, section(16, "strings")?);
        // Since 7.0 the section says itself how long the records of each kind are, for readers that do not know all.
        let layout = if header >= 32 { section(24, "layouts")? } else { &[] };
        if !strings.is_empty() && strings.last() != Some(&0) {
            return Err("BTF: its strings do not end".to_owned());
        }
        let mut starts = vec![0];
        let mut at = 0;
        while at < records.len() {
            starts.push(u32::try_from(at).map_err(|_| "BTF: it is too large")?);
            let info = u32_at(records, at + 4).ok_or_else(|| format!("BTF: the type at {at:#x} is truncated"))?;
            let (number, count) = ((info >> 24 & 0x7f) as usize, (info & 0xff_ffff) as usize);
            let known = number.checked_sub(1).and_then(|index| Kind::ALL.get(index));
            let (once, each) = match known {
                Some((_, once, each)) => (*once, *each),
                None => {
                    match (u8_at(layout, 4 * number), u8_at(layout, 4 * number + 1), u16_at(layout, 4 * number + 2)) {
                        (Some(once), Some(each), Some(_)) => (usize::from(once), usize::from(each)),
                        _ => return Err(format!("BTF: the type at {at:#x} is of unknown kind {number}")),
                    }
                }
            };
            // Only some kinds have elements; the others have a count of 0.
            at += RECORD + once + each * count;
            if at > records.len() {
                return Err(format!("BTF: the type {} is truncated", starts.len() - 1));
            }
        }
        Ok(Self { records: records.to_vec(), strings: strings.to_vec(), starts })
    }

    /// How many types there are, `void` included.
    pub(super) fn count(&self) -> u32 {
        self.starts.len() as u32
    }

    pub(super) fn get(&self, id: u32) -> Result<Record, String> {
        let lost = || format!("BTF: there is no type {id}");
        let at = *self.starts.get(id as usize).filter(|_| id != 0).ok_or_else(lost)? as usize;
        let word = |offset: usize| u32_at(&self.records, at + offset).ok_or_else(lost);
        let info = word(4)?;
        let kind = ((info >> 24 & 0x7f) as usize).checked_sub(1).and_then(|index| Kind::ALL.get(index));
        Ok(Record {
            kind: kind.map_or(Kind::Later, |(kind, ..)| *kind),
            name: word(0)?,
            size_or_type: word(8)?,
            at: at + RECORD,
            count: (info & 0xff_ffff) as usize,
            flag: info >> 31 != 0,
        })
    }

    pub(super) fn string(&self, offset: u32) -> Result<&str, String> {
        let lost = || format!("BTF: no string at {offset:#x}");
        std::str::from_utf8(string_at(&self.strings, offset as usize).ok_or_else(lost)?).map_err(|_| lost())
    }

    /// A word of a record's elements.
    fn word(&self, record: &Record, offset: usize) -> Result<u32, String> {
        u32_at(&self.records, record.at + offset).ok_or_else(|| "BTF: a type is truncated".to_owned())
    }

    /// The element type and the number of elements (`struct btf_array`).
    pub(super) fn array(&self, record: &Record) -> Result<(u32, u32), String> {
        Ok((self.word(record, 0)?, self.word(record, 8)?))
    }

    /// Where the bits of an integer begin, and how many there are (`BTF_INT_OFFSET`, `BTF_INT_BITS`).
    pub(super) fn int(&self, record: &Record) -> Result<(u32, u32), String> {
        let encoding = self.word(record, 0)?;
        Ok((encoding >> 16 & 0xff, encoding & 0xff))
    }

    /// The fields of a struct or union (`struct btf_member`).
    pub(super) fn fields(&self, record: &Record) -> Result<Vec<Field>, String> {
        if !record.kind.is_aggregate() {
            return Err(format!("{:?} has no fields", record.kind));
        }
        let field = |index: usize| {
            let at = 12 * index;
            let (name, id, place) = (self.word(record, at)?, self.word(record, at + 4)?, self.word(record, at + 8)?);
            let (bit, bit_size) = if record.flag { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
            Ok(Field { name, id, bit: bit.into(), bit_size })
        };
        (0..record.count).map(field).collect()
    }

    /// The names and values of an enum (`struct btf_enum`, `struct btf_enum64`).
    pub(super) fn enumerators(&self, record: &Record) -> Result<Vec<(&str, i64)>, String> {
        let value = |index: usize| match record.kind {
            Kind::Enum => {
                let value = i32_at(&self.records, record.at + 8 * index + 4).ok_or("BTF: an enum is truncated")?;
                // The flag says that it is signed.
                let value = if record.flag { value.into() } else { i64::from(value.cast_unsigned()) };
                Ok((self.string(self.word(record, 8 * index)?)?, value))
            }
            _ => {
                let (low, high) = (self.word(record, 12 * index + 4)?, self.word(record, 12 * index + 8)?);
                let value = u64::from(low) | u64::from(high) << 32;
                Ok((self.string(self.word(record, 12 * index)?)?, value.cast_signed()))
            }
        };
        (0..record.count).map(value).collect()
    }
}

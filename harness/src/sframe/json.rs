//! A section as JSON, written while it is read; docs/sframe.md describes it.

use std::cell::Cell;
use std::io::{self, Write};

use kunwind::sframe::{Error, Fde, FdeType, Fre, PauthKey, PcType, SFrameSection};
use kunwind::{CfaRule, Entry, Rule};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

/// A part of the section that becomes JSON only while it is written, and reports to `is_whole` what cannot be read.
struct Lazy<'a, T> {
    part: T,
    is_whole: &'a Cell<bool>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u8,
    abi: &'static str,
    flags: Vec<&'static str>,
    functions: Lazy<'a, SFrameSection<'a>>,
}

#[derive(Serialize)]
struct FunctionObject<'a> {
    start: u64,
    size: u32,
    pc_type: &'static str,
    fde_type: &'static str,
    signal: bool,
    pauth_key: Option<&'static str>,
    rep_size: u8,
    rows: Lazy<'a, &'a Fde<'a>>,
}

/// A function that cannot be read.
#[derive(Serialize)]
struct BadFunction {
    index: usize,
    error: ErrorObject,
}

#[derive(Serialize)]
struct RowObject {
    start: u32,
    outermost: bool,
    mangled_ra: bool,
    cfa: Option<CfaObject>,
    ra: Option<RuleObject>,
    fp: Option<RuleObject>,
}

/// A row whose words make no rules.
#[derive(Serialize)]
struct BadRow {
    start: u32,
    error: ErrorObject,
}

/// A row that does not fit: those after it cannot be found either.
#[derive(Serialize)]
struct LostRows {
    lost_rows: u32,
    error: ErrorObject,
}

#[derive(Serialize)]
struct ErrorObject {
    rule: String,
    field: String,
    offset: usize,
    value: u64,
}

#[derive(Serialize)]
struct CfaObject {
    reg: u8,
    offset: i64,
    deref: bool,
}

#[derive(Serialize)]
struct RuleObject {
    rule: &'static str,
    reg: Option<u8>,
    offset: i64,
    deref: bool,
}

/// What stands in the place of a row.
#[derive(Serialize)]
#[serde(untagged)]
enum RowEntry {
    Good(RowObject),
    Bad(BadRow),
    Lost(LostRows),
}

/// Writes a section, or `null` for one that is empty. False if part of it cannot be read: then `error` stands in its place.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn write(section: Option<&SFrameSection<'_>>, out: &mut dyn Write) -> io::Result<bool> {
    let is_whole = Cell::new(true);
    let document = section.map(|section| {
        let header = section.header();
        Document {
            version: header.version.number(),
            abi: header.abi.name(),
            flags: header.flag_names().collect(),
            functions: Lazy { part: *section, is_whole: &is_whole },
        }
    });
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)?;
    Ok(is_whole.get())
}

impl<T> Lazy<'_, T> {
    fn error(&self, error: &Error) -> ErrorObject {
        self.is_whole.set(false);
        let Error { kind, field, offset, value } = error;
        ErrorObject { rule: kind.to_string(), field: field.to_string(), offset: *offset, value: *value }
    }
}

impl Serialize for Lazy<'_, SFrameSection<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for (index, function) in self.part.functions().enumerate() {
            match function {
                Ok(function) => sequence.serialize_element(&function_object(&function, self.is_whole))?,
                Err(error) => sequence.serialize_element(&BadFunction { index, error: self.error(&error) })?,
            }
        }
        sequence.end()
    }
}

impl Serialize for Lazy<'_, &Fde<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = self.part.num_fres();
        serializer.collect_seq(self.part.fres().zip(0_u32..).map(|(fre, index)| match fre {
            Ok(fre) => match row_object(&fre) {
                Ok(row) => RowEntry::Good(row),
                Err(error) => RowEntry::Bad(BadRow { start: fre.start(), error: self.error(&error) }),
            },
            Err(error) => RowEntry::Lost(LostRows { lost_rows: count - index, error: self.error(&error) }),
        }))
    }
}

fn function_object<'a>(function: &'a Fde<'a>, is_whole: &'a Cell<bool>) -> FunctionObject<'a> {
    FunctionObject {
        start: function.start(),
        size: function.size(),
        pc_type: match function.pc_type() {
            PcType::Inc => "inc",
            PcType::Mask => "mask",
        },
        fde_type: match function.fde_type() {
            FdeType::Default => "default",
            FdeType::Flexible => "flex",
        },
        signal: function.is_signal(),
        pauth_key: function.pauth_key().map(|key| match key {
            PauthKey::A => "a",
            PauthKey::B => "b",
        }),
        rep_size: function.rep_size(),
        rows: Lazy { part: function, is_whole },
    }
}

fn row_object(fre: &Fre<'_>) -> Result<RowObject, Error> {
    let row = match fre.entry()? {
        Entry::Row(row) => Some(row),
        Entry::Outermost | Entry::NoRow { .. } | Entry::PtRegs(_) => None,
    };
    Ok(RowObject {
        start: fre.start(),
        outermost: row.is_none(),
        mangled_ra: fre.is_mangled_ra(),
        cfa: row.map(|row| match row.cfa {
            CfaRule::RegOffset(base, offset) => CfaObject { reg: base.0, offset, deref: false },
            // The format has no rule of the latter kind, and no expression.
            CfaRule::RegOffsetDeref(base, offset) | CfaRule::RegDerefOffset(base, offset) => {
                CfaObject { reg: base.0, offset, deref: true }
            }
            CfaRule::Expression(_) => CfaObject { reg: 0, offset: 0, deref: false },
        }),
        ra: row.map(|row| rule_object(row.ra)),
        fp: row.map(|row| rule_object(row.fp)),
    })
}

const fn rule_object(rule: Rule) -> RuleObject {
    match rule {
        Rule::Retain => RuleObject { rule: "retain", reg: None, offset: 0, deref: false },
        Rule::CfaOffset(offset) => RuleObject { rule: "cfa", reg: None, offset, deref: false },
        Rule::CfaOffsetDeref(offset) => RuleObject { rule: "cfa", reg: None, offset, deref: true },
        Rule::RegOffset(base, offset) => RuleObject { rule: "reg", reg: Some(base.0), offset, deref: false },
        Rule::RegOffsetDeref(base, offset) => RuleObject { rule: "reg", reg: Some(base.0), offset, deref: true },
        // SFrame has none of these.
        Rule::Expression(_) | Rule::ValExpression(_) => {
            RuleObject { rule: "expression", reg: None, offset: 0, deref: false }
        }
        Rule::Undefined => RuleObject { rule: "undefined", reg: None, offset: 0, deref: false },
    }
}

//! A section as JSON; docs/sframe.md describes it.

use kunwind::sframe::{Error, Fde, FdeType, Fre, PauthKey, PcType, SFrameSection};
use kunwind::{CfaRule, Entry, Rule};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Document {
    version: u8,
    abi: &'static str,
    flags: Vec<&'static str>,
    functions: Vec<FunctionObject>,
}

#[derive(Serialize)]
struct FunctionObject {
    start: u64,
    size: u32,
    pc_type: &'static str,
    fde_type: &'static str,
    signal: bool,
    pauth_key: Option<&'static str>,
    rep_size: u8,
    rows: Vec<RowObject>,
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

/// The whole section as JSON.
///
/// # Errors
///
/// The first function or row that cannot be read.
pub(super) fn document(section: &SFrameSection<'_>) -> Result<Document, Error> {
    let header = section.header();
    Ok(Document {
        version: header.version.number(),
        abi: header.abi.name(),
        flags: header.flag_names().collect(),
        functions: section.functions().map(|function| function_object(&function?)).collect::<Result<_, _>>()?,
    })
}

fn function_object(function: &Fde<'_>) -> Result<FunctionObject, Error> {
    Ok(FunctionObject {
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
        rows: function.fres().map(|fre| row_object(&fre?)).collect::<Result<_, _>>()?,
    })
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

//! A section as text: one line for each function and each row.

use std::io::{self, Write};

use kunwind::sframe::{Fde, FdeType, PauthKey, PcType, SFrameAbi, SFrameSection};
use kunwind::{CfaRule, Entry, Register, Rule};

use super::elf::{Input, Table};
use super::plural;

/// Writes a section. False if part of it cannot be read; the text says which.
pub(super) fn write(
    input: &Input<'_>,
    table: &Table<'_>,
    section: &SFrameSection<'_>,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let header = section.header();
    let mut flags: Vec<_> = header.flag_names().collect();
    if flags.is_empty() {
        flags.push("no flags");
    }
    let (address, size, abi) = (section.address(), table.data.len(), header.abi.name());
    let (version, flags) = (header.version.number(), flags.join(" "));
    writeln!(out, "{} at {address:#x}, {size} bytes: version {version}, {abi}, {flags}", table.name)?;
    let (functions, rows) = (header.num_fdes as usize, header.num_fres as usize);
    write!(out, "{functions} {}, {rows} {}", plural(functions, "function"), plural(rows, "row"))?;
    for (name, offset) in [("RA", header.fixed_ra_offset), ("FP", header.fixed_fp_offset)] {
        if offset != 0 {
            write!(out, ", {name} always at CFA{offset:+}")?;
        }
    }
    if header.aux_header_len != 0 {
        write!(out, ", {} bytes of auxiliary header", header.aux_header_len)?;
    }
    writeln!(out)?;
    input.remarks(table, Some(section), out)?;
    let mut all_read = true;
    for (index, function) in section.functions().enumerate() {
        writeln!(out)?;
        match function {
            Ok(function) => all_read &= write_function(table, header.abi, &function, out)?,
            Err(error) => {
                writeln!(out, "function {index}: error: {error}")?;
                all_read = false;
            }
        }
    }
    Ok(all_read)
}

fn write_function(table: &Table<'_>, abi: SFrameAbi, function: &Fde<'_>, out: &mut dyn Write) -> io::Result<bool> {
    let (start, size) = (function.start(), function.size());
    if let Some(section) = table.targets.get(&function.offset()) {
        write!(out, "{section}+")?;
    }
    write!(out, "{start:#x}, {size} {}", plural(size as usize, "byte"))?;
    match function.pc_type() {
        PcType::Inc => {}
        PcType::Mask => write!(out, ", repeats every {} bytes", function.rep_size())?,
    }
    if function.fde_type() == FdeType::Flexible {
        write!(out, ", flexible")?;
    }
    if function.is_signal() {
        write!(out, ", signal frame")?;
    }
    if function.pauth_key() == Some(PauthKey::B) {
        write!(out, ", key B")?;
    }
    writeln!(out, "{}", if function.num_fres() == 0 { ": no rows" } else { "" })?;
    let mut all_read = true;
    for (fre, index) in function.fres().zip(0_u32..) {
        let unread = match fre {
            Ok(fre) => match fre.entry() {
                Ok(entry) => {
                    writeln!(out, "  {:<8} {}", format!("+{:#x}", fre.start()), row(abi, &entry))?;
                    continue;
                }
                Err(error) => format!("+{:#x}: {error}", fre.start()),
            },
            Err(error) => {
                let lost = function.num_fres() - index;
                format!("{error}; {lost} {} cannot be found", plural(lost as usize, "row"))
            }
        };
        writeln!(out, "  error: {unread}")?;
        all_read = false;
    }
    Ok(all_read)
}

fn row(abi: SFrameAbi, entry: &Entry) -> String {
    let row = match entry {
        Entry::Outermost => return "outermost".to_owned(),
        Entry::NoRow { .. } => return "no row".to_owned(),
        Entry::PtRegs(_) => return "pt_regs".to_owned(),
        Entry::Row(row) => row,
    };
    let cfa = match row.cfa {
        CfaRule::RegOffset(base, offset) => format!("{}{offset:+}", register(abi, base)),
        CfaRule::RegOffsetDeref(base, offset) => format!("*({}{offset:+})", register(abi, base)),
        CfaRule::RegDerefOffset(base, offset) => format!("*({}){offset:+}", register(abi, base)),
        CfaRule::Expression(_) => "expression".to_owned(), // SFrame has none
    };
    let mangled = if row.mangled_ra { "  RA is signed" } else { "" };
    let text = format!("CFA={cfa:<12} RA={:<12} FP={:<12}{mangled}", rule(abi, row.ra), rule(abi, row.fp));
    text.trim_end().to_owned()
}

fn rule(abi: SFrameAbi, rule: Rule) -> String {
    match rule {
        Rule::Retain => "retain".to_owned(),
        Rule::CfaOffset(offset) => format!("CFA{offset:+}"),
        Rule::CfaOffsetDeref(offset) => format!("*(CFA{offset:+})"),
        Rule::RegOffset(base, offset) => format!("{}{offset:+}", register(abi, base)),
        Rule::RegOffsetDeref(base, offset) => format!("*({}{offset:+})", register(abi, base)),
        Rule::Expression(_) | Rule::ValExpression(_) => "expression".to_owned(), // SFrame has none
        Rule::Undefined => "undefined".to_owned(),
    }
}

/// SP and FP by name, others by DWARF number.
fn register(abi: SFrameAbi, register: Register) -> String {
    if register == abi.sp() {
        "sp".to_owned()
    } else if register == abi.fp() {
        "fp".to_owned()
    } else {
        format!("r{}", register.0)
    }
}

//! What the reader says of sections that others made, against what `objdump --sframe` says.

use std::fmt::Write as _;

use kunwind::sframe::{
    Error, ErrorKind, Fde, FdeType, Field, Fre, PauthKey, PcType, Profile, SFrameAbi, SFrameSection, Severity,
    Surroundings, validate,
};
use kunwind::{CfaRule, Entry, Register, Rule};

use super::fixture;

/// A register in objdump's words.
fn register(abi: SFrameAbi, register: Register) -> String {
    if register == abi.sp() {
        "sp".to_owned()
    } else if register == abi.fp() {
        "fp".to_owned()
    } else {
        format!("r{}", register.0)
    }
}

/// A rule for RA or FP. What objdump does not show is whether a rule that is based on the CFA reads memory.
fn rule(abi: SFrameAbi, rule: Rule) -> String {
    match rule {
        Rule::Retain => "u".to_owned(),
        Rule::CfaOffset(offset) | Rule::CfaOffsetDeref(offset) => format!("c{offset:+}"),
        Rule::RegOffset(base, offset) => format!("{}{offset:+}", register(abi, base)),
        Rule::RegOffsetDeref(base, offset) => format!("({}{offset:+})", register(abi, base)),
        Rule::Expression(_) | Rule::ValExpression(_) | Rule::Undefined => unreachable!("SFrame has none"),
    }
}

fn row(section: &SFrameSection<'_>, function: &Fde<'_>, fre: &Fre<'_>) -> String {
    let header = section.header();
    let row = match fre.entry().expect("a row that makes sense") {
        Entry::Outermost => return "RA undefined".to_owned(),
        Entry::NoRow { .. } | Entry::PtRegs(_) => panic!("a row is a row"),
        Entry::Row(row) => row,
    };
    let cfa = match row.cfa {
        CfaRule::RegOffset(base, offset) => format!("{}{offset:+}", register(header.abi, base)),
        CfaRule::RegOffsetDeref(base, offset) => format!("({}{offset:+})", register(header.abi, base)),
        CfaRule::RegDerefOffset(..) => panic!("SFrame cannot say so"),
        CfaRule::Expression(_) => unreachable!("SFrame has none"),
    };
    let is_flexible = function.fde_type() == FdeType::Flexible;
    let says_ra = !is_flexible || fre.word_count() == 4 || fre.word_count() == 6;
    // A word that only fills the place of RA. Where the header says where RA is, three words cannot be.
    let is_padded = fre.word_count() == if is_flexible { 5 } else { 3 } && (is_flexible || row.ra == Rule::Retain);
    let ra = if is_padded {
        "U".to_owned()
    } else if header.fixed_ra_offset != 0 && (!is_flexible || !says_ra) {
        assert_eq!(row.ra, Rule::CfaOffsetDeref(header.fixed_ra_offset.into()));
        "f".to_owned()
    } else {
        rule(header.abi, row.ra)
    };
    let mangled = if row.mangled_ra { "[s]" } else { "" };
    format!("{cfa:<10}{:<10}{:<13}", rule(header.abi, row.fp), ra + mangled)
}

/// The dump of a section in objdump's layout, from its line `Version` on. Where starts are not relocated, they are `starts`.
fn render(section: &SFrameSection<'_>, starts: Option<&[u64]>) -> String {
    let header = section.header();
    let mut text = format!("    Version: SFRAME_VERSION_{}\n", header.version.number());
    let name = |name| match name {
        "sorted" => "SFRAME_F_FDE_SORTED",
        "pcrel" => "SFRAME_F_FDE_FUNC_START_PCREL",
        other => panic!("objdump was never seen to print {other}"),
    };
    let flags: Vec<_> = header.flag_names().map(name).collect();
    let flags = if flags.is_empty() { "NONE".to_owned() } else { flags.join(",\n           ") };
    writeln!(text, "    Flags: {flags}").expect("memory");
    if header.fixed_ra_offset != 0 {
        writeln!(text, "    CFA fixed RA offset: {}", header.fixed_ra_offset).expect("memory");
    }
    writeln!(text, "    Num FDEs: {}\n    Num FREs: {}\n", header.num_fdes, header.num_fres).expect("memory");
    text.push_str("  Function Index :\n");
    for (index, function) in section.functions().enumerate() {
        let function = function.expect("a function that makes sense");
        let start = starts.map_or(function.start(), |starts| starts[index]);
        let size = function.size();
        write!(text, "\n    func idx [{index}]: pc = {start:#x}, size = {size} bytes").expect("memory");
        let marks = [(function.is_signal(), "S"), (function.fde_type() == FdeType::Flexible, "F")];
        let marks: String = marks.iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| *mark).collect();
        if !marks.is_empty() {
            write!(text, ", attr = \"{marks}\"").expect("memory");
        }
        if function.pauth_key() == Some(PauthKey::B) {
            text.push_str(", pauth = B key");
        }
        let (mark, base) = if function.pc_type() == PcType::Mask { ("[m]", 0) } else { ("", start) };
        writeln!(text, "\n    {:<16}CFA       FP        RA           ", format!("STARTPC{mark}")).expect("memory");
        for fre in function.fres() {
            let fre = fre.expect("a row that is there");
            let at = base.wrapping_add(fre.start().into());
            writeln!(text, "    {at:016x}  {}", row(section, &function, &fre)).expect("memory");
        }
    }
    text
}

/// The starts of functions in a dump.
fn starts_of(dump: &str) -> Vec<u64> {
    let starts = dump.lines().filter_map(|line| line.split_once("pc = 0x")?.1.split_once(','));
    starts.map(|(start, _)| u64::from_str_radix(start, 16).expect("an address")).collect()
}

#[test]
fn every_section_is_read_as_objdump_reads_it() {
    let (mut files, mut rows) = (0, 0);
    for gold in fixture::gold().iter().filter(|gold| !gold.data.is_empty()) {
        let dump = fixture::text(&fixture::folder().join(format!("{}.dump", gold.name)));
        let section = SFrameSection::parse(&gold.data, gold.address.unwrap_or(0))
            .unwrap_or_else(|error| panic!("{}: {error}", gold.name));
        let starts = gold.address.is_none().then(|| starts_of(&dump));
        let ours = render(&section, starts.as_deref());
        let theirs = dump.split_once("  Header :\n\n").expect("a header").1;
        for (ours, theirs) in ours.trim_end().lines().zip(theirs.trim_end().lines()) {
            assert_eq!(ours.trim_end(), theirs.trim_end(), "{}", gold.name);
        }
        assert_eq!(ours.trim_end().lines().count(), theirs.trim_end().lines().count(), "{}", gold.name);
        files += 1;
        rows += section.header().num_fres;
    }
    // Against fixtures that went missing.
    assert!(files > 140 && rows > 2000, "{files} files with {rows} rows");
}

#[test]
fn a_linked_section_gives_every_row_by_its_pc() {
    for gold in fixture::gold().iter().filter(|gold| !gold.data.is_empty()) {
        let Some(address) = gold.address else { continue };
        let section = SFrameSection::parse(&gold.data, address).expect("a sound section");
        for function in section.functions().map(|function| function.expect("a sound function")) {
            let mut rows = function.fres().map(|fre| fre.expect("a sound row")).peekable();
            while let Some(fre) = rows.next() {
                let next = rows.peek().map_or(function.size(), Fre::start);
                for at in [fre.start(), next - 1] {
                    let found = section.lookup(function.start() + u64::from(at));
                    assert_eq!(found, Ok(Some(fre.entry().expect("rules"))), "{} {at:#x}", gold.name);
                }
            }
        }
        assert_eq!(section.lookup(0), Ok(None), "{}", gold.name);
        assert_eq!(section.lookup(u64::MAX), Ok(None), "{}", gold.name);
    }
}

#[test]
fn version_1_is_refused_by_its_version_byte() {
    let mut files = 0;
    for (name, data) in fixture::sections(&fixture::folder()).iter().filter(|(name, _)| name.ends_with(".v1")) {
        let Error { kind, offset, value, .. } = SFrameSection::parse(data, 0).expect_err(name);
        assert_eq!((kind, offset, value), (ErrorKind::UnsupportedVersion, 2, 1), "{name}");
        files += 1;
    }
    assert_eq!(files, 2);
}

#[test]
fn an_empty_section_is_no_data_and_not_corrupt() {
    let data = fixture::gold_named("xl_discard.v3.exe");
    assert_eq!(data.len(), 0);
    assert_eq!(SFrameSection::parse(&data, 0).expect_err("no data").kind, ErrorKind::Empty);
    let mut findings = Vec::new();
    validate(&data, &Surroundings::default(), Profile::Spec, &mut |finding| findings.push(finding));
    assert_eq!(findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Note]);
}

/// The errors of a profile.
fn errors(gold: &fixture::Gold, profile: Profile) -> Vec<Error> {
    let surroundings = Surroundings { address: gold.address, ..Surroundings::default() };
    let mut errors = Vec::new();
    validate(&gold.data, &surroundings, profile, &mut |finding| {
        if finding.severity == Severity::Error {
            errors.push(finding.error);
        }
    });
    errors
}

#[test]
fn what_assemblers_and_linkers_make_is_valid() {
    for gold in fixture::gold() {
        assert_eq!(errors(&gold, Profile::Lenient), [], "{}", gold.name);
        let mut errors = errors(&gold, Profile::Spec);
        if gold.name.contains(".v2.") {
            // GNU ld 2.44 writes the size of a block into PLT functions whose rows do not repeat.
            errors.retain(|error| (error.kind, error.field) != (ErrorKind::ReservedBits, Field::RepSize));
        }
        if gold.name == "xl_cat.v2p.exe" {
            // lld concatenates sections, of which only the first can be reached.
            let second = errors.pop().expect("an error");
            assert_eq!((second.kind, second.field), (ErrorKind::TrailingData, Field::SecondHeader));
        }
        assert_eq!(errors, [], "{}", gold.name);
    }
}

#[test]
fn the_kernel_takes_what_gnu_ld_makes_of_version_3_and_nothing_else() {
    for gold in fixture::gold() {
        let is_taken = errors(&gold, Profile::Kernel).is_empty();
        let is_linked = gold.address.is_some() && gold.name.contains(".v3.") && !gold.data.is_empty();
        assert_eq!(is_taken, is_linked, "{}", gold.name);
    }
}

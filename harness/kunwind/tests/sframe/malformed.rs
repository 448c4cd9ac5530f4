//! Sections that are wrong in one place each: the validator names it, and the reader survives them.

use kunwind::sframe::{
    Error, ErrorKind, Field, Finding, Profile, SFrameAbi, SFrameSection, Severity, Surroundings, validate,
};

use super::fixture;

/// Where the sections lie, and the code that they describe.
const ADDRESS: u64 = 0x40_2000;
const TEXT: std::ops::Range<u64> = 0x40_1000..0x40_1200;

fn findings(data: &[u8], profile: Profile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let surroundings = Surroundings { address: Some(ADDRESS), text: &[TEXT], abi: None };
    validate(data, &surroundings, profile, &mut |finding| findings.push(finding));
    findings
}

fn errors(data: &[u8], profile: Profile) -> Vec<Error> {
    let findings = findings(data, profile).into_iter();
    findings.filter(|finding| finding.severity == Severity::Error).map(|finding| finding.error).collect()
}

/// The broken rule, and of some the field, that `index.tsv` expects; nothing where it says that the section is sound.
fn expected(class: &str) -> Option<(ErrorKind, Option<Field>)> {
    use ErrorKind as Kind;
    let (name, place) = class.trim_end_matches(" (warn)").split_once('(').unwrap_or((class, ""));
    let kind = match name.trim_end_matches(" (warn)") {
        "Truncated" => Kind::Truncated,
        "BadMagic" => Kind::BadMagic,
        "UnsupportedVersion" => Kind::UnsupportedVersion,
        "UnknownFlags" => Kind::UnknownFlags,
        "UnsupportedAbi" => Kind::UnsupportedAbi,
        "BadFixedOffset" => Kind::BadFixedOffset,
        "OutOfBounds" => Kind::OutOfBounds,
        "SubsectionOverlap" => Kind::SubsectionOverlap,
        "CountMismatch" => Kind::CountMismatch,
        "FunctionOutsideText" => Kind::FunctionOutsideText,
        "AddressOverflow" => Kind::AddressOverflow,
        "FresExceedSize" => Kind::FresExceedSize,
        "NotSorted" => Kind::NotSorted,
        "Overlap" => Kind::Overlap,
        "BadFreType" => Kind::BadFreType,
        "ReservedBits" | "ReservedBits " => Kind::ReservedBits,
        "UnsupportedFdeType" => Kind::UnsupportedFdeType,
        "BadRepSize" => Kind::BadRepSize,
        "FreStartBeyondBlock" => Kind::FreStartBeyondBlock,
        "FreOrder" => Kind::FreOrder,
        "TooManyDatawords" => Kind::TooManyDatawords,
        "BadFlexWords" => Kind::BadFlexWords,
        "BadControlWord" | "BadControlWord " => Kind::BadControlWord,
        "TrailingData" => Kind::TrailingData,
        accept if accept.starts_with("accept for a segment") => Kind::TrailingData,
        accept if accept.starts_with("accept") => return None,
        other => panic!("index.tsv expects {other}, which no rule is called"),
    };
    let field = match place.trim_end_matches(')') {
        "preamble" => Some(Field::Preamble),
        "header" => Some(Field::Header),
        "fde attribute" => Some(Field::FuncStartFreOffset),
        "second header" => Some(Field::SecondHeader),
        _ => None,
    };
    Some((kind, field))
}

#[test]
fn each_broken_section_is_refused_for_its_reason() {
    let index = fixture::text(&fixture::folder().join("malformed/index.tsv"));
    let mut sections = 0;
    for line in index.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        if columns[3] == "AbiMachineMismatch" {
            // Nothing is wrong with the section itself.
            assert_eq!(errors(&fixture::malformed(columns[0]), Profile::Spec), []);
            continue;
        }
        let errors = errors(&fixture::malformed(columns[0]), Profile::Spec);
        let found = errors.first().map(|error| (error.kind, error.field));
        match expected(columns[3]) {
            None => assert_eq!(found, None, "{line}"),
            Some((kind, None)) => assert_eq!(found.map(|(kind, _)| kind), Some(kind), "{line}: {errors:?}"),
            Some((kind, Some(field))) => assert_eq!(found, Some((kind, field)), "{line}: {errors:?}"),
        }
        sections += 1;
    }
    assert_eq!(sections, 67);
}

#[test]
fn the_abi_must_be_that_of_the_file() {
    let data = fixture::malformed("019_abi_machine");
    let mut found = Vec::new();
    let surroundings = Surroundings { address: Some(ADDRESS), text: &[TEXT], abi: Some(SFrameAbi::Amd64) };
    validate(&data, &surroundings, Profile::Spec, &mut |finding| found.push(finding.error));
    assert_eq!(found.iter().map(|error| error.kind).collect::<Vec<_>>(), [ErrorKind::AbiMachineMismatch]);
}

/// One more broken section: its number in the same list, the sound one it differs from, the bytes, and the rule.
type Patch = (u32, &'static str, &'static [(usize, &'static [u8])], Option<(ErrorKind, Field)>);

const SOUND: &str = "001_good";

const PATCHES: &[Patch] = {
    use ErrorKind as Kind;
    &[
        (12, SOUND, &[(2, &[1])], Some((Kind::UnsupportedVersion, Field::Version))),
        (15, SOUND, &[(3, &[0x85])], Some((Kind::UnknownFlags, Field::Flags))),
        (18, SOUND, &[(4, &[4])], Some((Kind::EndianMismatch, Field::AbiArch))),
        (21, SOUND, &[(7, &[255])], Some((Kind::OutOfBounds, Field::Header))),
        (24, SOUND, &[(8, &[1, 0, 0, 0x10])], Some((Kind::OutOfBounds, Field::NumFdes))),
        (27, SOUND, &[(16, &[0xff; 4])], Some((Kind::OutOfBounds, Field::FreLength))),
        (30, SOUND, &[(20, &[0x54])], Some((Kind::OutOfBounds, Field::NumFdes))),
        (33, SOUND, &[(24, &[0, 0xff, 0xff, 0xff])], Some((Kind::OutOfBounds, Field::FreOffset))),
        (36, SOUND, &[(0x68, &[0x4a])], Some((Kind::OutOfBounds, Field::FuncStartFreOffset))),
        (39, SOUND, &[(0x24, &[0xff; 4])], Some((Kind::FunctionOutsideText, Field::FuncSize))),
        (42, SOUND, &[(0x5c, &[0x44])], Some((Kind::Duplicate, Field::FuncStart))),
        (48, SOUND, &[(0x6e, &[3])], Some((Kind::BadFreType, Field::FuncInfo))),
        (51, SOUND, &[(0x6e, &[0x20])], Some((Kind::ReservedBits, Field::FuncInfo))),
        (54, SOUND, &[(0x6f, &[0x20])], Some((Kind::ReservedBits, Field::FuncInfo2))),
        (56, SOUND, &[(0x87, &[16])], Some((Kind::FreStartBeyondBlock, Field::FreStart))),
        (57, SOUND, &[(0x70, &[16])], Some((Kind::ReservedBits, Field::RepSize))),
        (60, SOUND, &[(0x7c, &[0x41])], Some((Kind::FreStartBeyondFunction, Field::FreStart))),
        (63, SOUND, &[(0x72, &[0x63])], Some((Kind::BadDatawordSize, Field::FreInfo))),
        (69, SOUND, &[(0x72, &[0x83])], Some((Kind::ReservedBits, Field::FreInfo))),
        (72, SOUND, &[(0x91, &[2])], Some((Kind::BadControlWord, Field::ControlWord))),
        (81, SOUND, &[(0x90, &[5])], Some((Kind::ReservedBits, Field::FreInfo))),
        (87, "085_v2_good_pcrel", &[(3, &[8])], Some((Kind::UnknownFlags, Field::Flags))),
        (90, "085_v2_good_pcrel", &[(0x40, &[0x10, 0])], Some((Kind::BadRepSize, Field::RepSize))),
        (93, "085_v2_good_pcrel", &[(8, &[3])], Some((Kind::SubsectionOverlap, Field::FreOffset))),
        (96, "095_be_good", &[(4, &[2])], Some((Kind::EndianMismatch, Field::AbiArch))),
        (99, "095_be_good", &[(0x37, &[0])], Some((Kind::BadOffset, Field::DataWords))),
        // Sound: another order of the search.
        (44, SOUND, &[(3, &[4])], None),
    ]
};

fn patched(patch: &Patch) -> Vec<u8> {
    let mut data = fixture::malformed(patch.1);
    for (offset, bytes) in patch.2 {
        data[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    data
}

#[test]
fn each_wrong_field_is_named() {
    for patch in PATCHES {
        let errors = errors(&patched(patch), Profile::Spec);
        let found: Vec<_> = errors.iter().map(|error| (error.kind, error.field)).collect();
        assert_eq!(found.first().copied(), patch.3, "{}: {found:?}", patch.0);
    }
}

/// The pattern of a section with another length, or with the flags and counts that the kernel does not take.
#[test]
fn what_is_odd_is_sound_but_not_for_the_kernel() {
    let kinds =
        |data: &[u8], profile| -> Vec<ErrorKind> { errors(data, profile).iter().map(|error| error.kind).collect() };
    let sound = fixture::malformed("001_good");
    assert_eq!(kinds(&sound, Profile::Kernel), []);

    // 003: an auxiliary header.
    let mut data = sound.clone();
    data.splice(28..28, [0xaa; 8]);
    data[7] = 8;
    for start in (36..36 + 5 * 16).step_by(16) {
        // The index moved by eight bytes, and its starts count from it.
        data[start] -= 8;
    }
    assert_eq!(kinds(&data, Profile::Spec), []);
    assert_eq!(kinds(&data, Profile::Kernel), [ErrorKind::UnsupportedAuxHeader]);

    // 009: no functions.
    let mut data = sound[..28].to_vec();
    data[8..28].fill(0);
    assert_eq!(kinds(&data, Profile::Spec), []);
    assert_eq!(kinds(&data, Profile::Kernel), [ErrorKind::NoData; 2]);

    // 044: not sorted.
    let mut data = sound;
    data[3] = 4;
    assert_eq!(kinds(&data, Profile::Kernel), [ErrorKind::MissingSorted]);
    data[3] = 1;
    assert!(kinds(&data, Profile::Kernel).contains(&ErrorKind::MissingPcrel));
    assert_eq!(kinds(&fixture::malformed("085_v2_good_pcrel"), Profile::Kernel), [ErrorKind::UnsupportedVersion]);
}

#[test]
fn what_has_no_meaning_is_a_note_to_the_lenient() {
    let lenient =
        ["050_info_bit6", "080_flex_noreg_regnum", "083_concat_v2_tail", "091_v2_info_bits", "092_v2_padding"];
    for name in lenient {
        let data = fixture::malformed(name);
        assert_eq!(errors(&data, Profile::Lenient), [], "{name}");
        assert!(!errors(&data, Profile::Spec).is_empty(), "{name}");
        // Nothing is passed over in silence.
        assert_eq!(findings(&data, Profile::Lenient).len(), findings(&data, Profile::Spec).len(), "{name}");
    }
    for name in ["041_not_sorted", "043_overlap", "064_dw_count15", "025_num_fres_short"] {
        let data = fixture::malformed(name);
        assert_eq!(errors(&data, Profile::Lenient), errors(&data, Profile::Spec), "{name}");
    }
}

#[test]
fn all_findings_are_reported_and_not_only_the_first() {
    let mut data = fixture::malformed("001_good");
    data[3] = 0x85;
    data[12] = 1;
    data[0x6e] = 0x60;
    data[0x72] = 0x83;
    let fields: Vec<_> = errors(&data, Profile::Spec).iter().map(|error| error.field).collect();
    assert_eq!(fields, [Field::Flags, Field::FuncInfo, Field::FreInfo, Field::NumFres]);
}

#[test]
fn broken_sections_give_errors_or_rows_and_nothing_worse() {
    let patched = PATCHES.iter().map(|patch| (patch.0.to_string(), patched(patch)));
    for (name, data) in fixture::sections(&fixture::folder().join("malformed")).into_iter().chain(patched) {
        let Ok(section) = SFrameSection::parse(&data, ADDRESS) else { continue };
        for pc in (0..0x20).chain(TEXT.start - 0x20..TEXT.end + 0x20).chain(u64::MAX - 0x20..=u64::MAX) {
            let _ = section.lookup(pc);
        }
        for function in section.functions().flatten() {
            assert!(function.fres().count() <= data.len(), "{name}");
        }
    }
}

#[test]
fn an_error_names_the_rule_the_field_the_place_and_the_value() {
    let error = SFrameSection::parse(&fixture::malformed("013_version4"), 0).expect_err("version 4");
    assert_eq!(error.to_string(), "this version is not supported: version at 0x2 is 0x4");
}

/// A sound section but for its one row: the type of its function, the row's info byte, and its words.
fn one_row(fde_type: u8, info: u8, words: &[u8]) -> Vec<u8> {
    let mut data = fixture::malformed("070_flex_one_word");
    data.truncate(0x2c);
    data.extend([1, 0, 0, fde_type, 0, 0, info]);
    data.extend(words);
    data[16] = 7 + words.len() as u8;
    data
}

#[test]
fn words_that_make_no_rules() {
    use ErrorKind::{BadControlWord, BadFlexWords, BadRegister, TooManyDatawords};
    type Case = (u32, u8, u8, &'static [u8], Option<ErrorKind>);
    let cases: &[Case] = &[
        // The sound ones.
        (0, 0, 0x05, &[8, 0xf0], None),
        (0, 1, 0x0c, &[0x39, 8, 0x02, 0xe8, 0x02, 0xf0], None),
        (0, 1, 0x0a, &[0x39, 8, 0x00, 0x02, 0xf0], None),
        // A third word on AMD64, where the header says where RA is.
        (66, 0, 0x07, &[8, 0xf0, 0xe8], Some(TooManyDatawords)),
        (75, 1, 0x06, &[0x39, 8, 0], Some(BadFlexWords)),
        // Padding for RA, and for FP, which nothing follows.
        (0, 1, 0x08, &[0x39, 8, 0, 0], Some(BadFlexWords)),
        (0, 1, 0x0a, &[0x39, 8, 0x02, 0xe8, 0], Some(BadFlexWords)),
        (0, 1, 0x0c, &[0x39, 8, 0, 0x02, 0xf0, 0], Some(BadFlexWords)),
        (78, 1, 0x44, &[0xfb, 0xff, 0xff, 0xff, 8, 0, 0, 0], Some(BadRegister)),
        (72, 1, 0x04, &[0x02, 8], Some(BadControlWord)),
    ];
    for (number, fde_type, info, words, kind) in cases {
        let data = one_row(*fde_type, *info, words);
        let found = errors(&data, Profile::Spec);
        assert_eq!(
            found.iter().map(|error| error.kind).collect::<Vec<_>>(),
            Vec::from_iter(*kind),
            "{number} {words:?}"
        );
        let section = SFrameSection::parse(&data, ADDRESS).expect("a sound header");
        let entry = section.lookup(TEXT.start).map_err(|error| error.kind);
        assert_eq!(entry.err(), *kind, "{number} {words:?}");
    }
    // 102: as many words as the format can count, of four bytes.
    let errors = errors(&one_row(0, 0x5f, &[0x5f; 60]), Profile::Spec);
    assert_eq!(errors.first().map(|error| error.kind), Some(TooManyDatawords));
}

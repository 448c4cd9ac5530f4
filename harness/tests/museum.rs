//! The scenarios `museum_*` (docs/museum.md): defects as sets of builds, one of them without the defect. Each piece bites in its
//! defective builds and only there; `exhibits.rs` holds them to the verdicts and the instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use unwind_harness::recording::{Section, rows::GuestRows};
use unwind_harness::rows;
use unwind_harness::scenario::{Scenario, load_all};
use unwind_harness::subject::Gate;
use unwind_harness::suite::{Options, run_all};

/// The first build; every other than [`FIXED`] is defective, too.
const DEFECTIVE: &str = "defective";
const FIXED: &str = "fixed";
/// The column that stands for rows that are wrong or not judged.
const CHECK: &str = "check";
/// The column that stands for a run that is void, as the scenario demands.
const VOID: &str = "void";

/// What all builds have for a reason that is not the defect: scenario, column, reason.
const SHARED: [(&str, &str, &str); 2] = [
    (
        "x86_64/museum_odd_stack",
        CHECK,
        "save_regs stands for the CPU: its hints say that an exception saved the registers, but a call led there",
    ),
    (
        "x86_64/museum_rbp_scratch",
        "x86-unwind-frame:best-effort",
        "a walk along rbp leaves out the caller before a record is linked and after it is unlinked, whoever pushes rbp and why",
    ),
];

/// A deviation from what the scenario demands, before any `[[known]]`; or a row that is wrong or not judged; or a void run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bite {
    /// The subject, or [`CHECK`], or [`VOID`].
    column: String,
    /// The function and the offset; a void run has none, and neither have data that belong to no function.
    place: Option<(String, u64)>,
    /// The kind of interruption, the start and the verdict; or the table and what is wrong with its row.
    what: String,
}

impl Bite {
    fn of_rows(place: Option<(&str, u64)>, what: String) -> Self {
        Self { column: CHECK.to_owned(), place: place.map(|(function, offset)| (function.to_owned(), offset)), what }
    }
}

/// What the builds of a piece did.
struct Piece {
    scenario: Scenario,
    /// By build.
    defective: BTreeMap<String, BTreeSet<Bite>>,
    fixed: BTreeSet<Bite>,
}

impl Piece {
    fn run(scenario: Scenario) -> Self {
        let scenarios = [scenario];
        let options = Options { threads: Some(1), ..Options::default() };
        let (walks, _) = run_all(root(), &scenarios, &options).expect("it runs");
        let checked = rows::run_all(root(), &scenarios, &scenarios).expect("it runs");
        let [scenario] = scenarios;
        let mut builds = BTreeMap::new();
        for variant in scenario.variants() {
            let is_meant = |section: &&Section| section.variant.as_ref() == Some(&variant.name);
            let sections: Vec<&Section> = walks.sections.iter().filter(is_meant).collect();
            assert!(!sections.is_empty(), "{} has no runs of {}", scenario.name, variant.name);
            let mut bites: BTreeSet<Bite> =
                sections.iter().flat_map(|section| deviations(&scenario, section)).collect();
            let guest = format!("{}/{}", scenario.cpu.name, variant.guest.as_ref().unwrap_or(&scenario.text.guest));
            let rows = checked.rows.iter().find(|rows| rows.name == guest);
            bites.extend(row_bites(rows.unwrap_or_else(|| panic!("{guest} has no unwind data"))));
            builds.insert(variant.name, bites);
        }
        let fixed = builds.remove(FIXED).unwrap_or_else(|| panic!("{} has no build {FIXED}", scenario.name));
        Self { defective: builds, fixed, scenario }
    }

    /// Where a defective build bites and the fixed one does not.
    fn difference(&self) -> impl Iterator<Item = &Bite> {
        self.defective.values().flat_map(|bites| bites.difference(&self.fixed))
    }

    /// Why the piece proves nothing.
    fn problems(&self) -> Vec<String> {
        let name = &self.scenario.name;
        let mut problems = Vec::new();
        for (build, _) in self.defective.iter().filter(|(_, bites)| bites.is_subset(&self.fixed)) {
            problems.push(format!("{name}: build {build} has nothing that the fixed one has not"));
        }
        let shared = SHARED.iter().filter(|(scenario, _, _)| scenario == name).map(|(_, column, _)| *column);
        let shared: Vec<&str> = shared.collect();
        for bite in &self.fixed {
            if !shared.contains(&&*bite.column) {
                problems.push(format!("{name}: the fixed build has {bite:?}"));
                continue;
            }
            for (build, _) in self.defective.iter().filter(|(_, bites)| !bites.contains(bite)) {
                problems.push(format!("{name}: the fixed build has {bite:?}, and build {build} has not"));
            }
        }
        for column in shared.into_iter().filter(|column| self.fixed.iter().all(|bite| bite.column != *column)) {
            problems.push(format!(
                "{name}: {column} is exact in the fixed build; remove it from SHARED, and its [[known]]"
            ));
        }
        problems
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pieces() -> Vec<Scenario> {
    let mut all = load_all(root()).expect("the scenarios load");
    all.retain(|scenario| scenario.name.contains("/museum_"));
    assert!(!all.is_empty());
    all
}

fn deviations(scenario: &Scenario, section: &Section) -> Vec<Bite> {
    let kind = section.interrupt.name();
    if section.void_is_meant {
        return vec![Bite { column: VOID.to_owned(), place: None, what: format!("by {kind}") }];
    }
    assert_eq!((&section.void, &section.not_judged), (&None, &None), "{}", section.title());
    assert!(section.points > 0, "{}", section.title());
    let mut bites = Vec::new();
    for finding in &section.findings {
        if scenario.text.level(&finding.subject, finding.start, Gate::Sound).allows(finding.verdict) {
            continue;
        }
        bites.extend(section.offsets(finding).map(|offset| Bite {
            column: finding.subject.clone(),
            place: Some((finding.range.function.clone(), offset)),
            what: format!("{} by {kind} from {}", finding.verdict, finding.start.name()),
        }));
    }
    bites
}

/// Rows that are wrong, and what was not judged.
fn row_bites(guest: &GuestRows) -> Vec<Bite> {
    assert_eq!(guest.not_judged, None, "{}", guest.name);
    let mut bites = Vec::new();
    for function in &guest.functions {
        for table in &function.tables {
            let at = |offset: u64| Some((&*function.name, offset));
            bites.extend(
                table
                    .wrong
                    .iter()
                    .map(|wrong| Bite::of_rows(at(wrong.offset), format!("{} of {}", wrong.part.name(), table.format))),
            );
            // At each byte, so that ranges of different lengths differ, and both ends of each are found.
            let offsets = table.unjudged.iter().flat_map(|unjudged| unjudged.first..=unjudged.last);
            bites.extend(offsets.map(|offset| Bite::of_rows(at(offset), format!("{} is not judged", table.format))));
        }
    }
    let unread = guest.unread.iter().map(|unread| format!("{} is not judged: {}", unread.format, unread.reason));
    bites.extend(unread.map(|what| Bite::of_rows(None, what)));
    if guest.outside_functions > 0 {
        bites.push(Bite::of_rows(None, format!("{} instructions lie in no function", guest.outside_functions)));
    }
    bites
}

#[test]
fn each_piece_bites_in_its_defective_build_and_only_there() {
    let problems: Vec<String> = pieces().into_iter().flat_map(|scenario| Piece::run(scenario).problems()).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_piece_that_has_stopped_biting_is_noticed_and_so_is_a_fix_that_is_none() {
    for (name, from, to, complaint) in [
        ("arm64/museum_split_sp_add", FIXED, DEFECTIVE, "the fixed build has"),
        ("arm64/museum_split_sp_add", DEFECTIVE, FIXED, "build defective has nothing that"),
        ("x86_64/museum_probestack_no_rows", FIXED, DEFECTIVE, "the fixed build has"),
        ("x86_64/museum_probestack_no_rows", DEFECTIVE, FIXED, "build defective has nothing that"),
        // A third build proves something of its own.
        ("riscv64/museum_push_order", "s1", FIXED, "build s1 has nothing that"),
    ] {
        let mut scenario = pieces().into_iter().find(|scenario| scenario.name == name).expect("the piece is there");
        let variants = scenario.variants();
        let build = variants.iter().find(|variant| variant.name == to).expect("it has both");
        let guest = build.guest.clone().unwrap_or_else(|| scenario.text.guest.clone());
        let changed = scenario.text.variant.iter_mut().find(|variant| variant.name == from).expect("it has both");
        changed.guest = Some(guest);
        let problems = Piece::run(scenario).problems();
        assert!(problems.iter().any(|problem| problem.contains(complaint)), "{name}: {problems:?}");
    }
}

/// A reader that gives up a row says nothing that is false, so what is not judged is all that `check` can have.
#[test]
fn what_is_not_judged_bites() {
    let scenario = pieces().into_iter().find(|scenario| scenario.name == "x86_64/museum_invalid_cfi");
    let piece = Piece::run(scenario.expect("the piece is there"));
    let of_rows: Vec<&str> = piece.difference().filter(|bite| bite.column == CHECK).map(|bite| &*bite.what).collect();
    assert!(!of_rows.is_empty() && of_rows.iter().all(|what| *what == "dwarf is not judged"), "{of_rows:?}");
}

/// Some defects contradict the truth's witnesses: the tool says so by refusing to judge.
#[test]
fn a_defective_build_that_must_be_void_bites_and_a_fixed_one_must_not_be() {
    let broken = Scenario::load(&root().join("scenarios/arm64/clobbered_callee_saved.toml")).expect("it loads");
    for (which, is_right) in [(DEFECTIVE, true), (FIXED, false)] {
        let all = pieces();
        let found = all.into_iter().find(|scenario| scenario.name == "arm64/museum_split_sp_add");
        let mut scenario = found.expect("the piece is there");
        scenario.text.void.clone_from(&broken.text.void);
        for variant in &mut scenario.text.variant {
            let guest = if variant.name == which { &*broken.text.guest } else { "museum_split_sp_add-fixed" };
            variant.guest = Some(guest.to_owned());
        }
        let piece = Piece::run(scenario);
        assert_eq!(piece.problems().is_empty(), is_right, "{which}: {:?}", piece.problems());
        let void = if is_right { &piece.defective[DEFECTIVE] } else { &piece.fixed };
        assert!(void.iter().all(|bite| bite.column == VOID) && !void.is_empty(), "{which}: {void:?}");
    }
}

#[test]
fn the_builds_of_a_piece_are_named_alike_and_the_fixed_one_is_not_excused() {
    for scenario in pieces() {
        let (_, name) = scenario.name.split_once('/').expect("<cpu>/<name>");
        let variants = scenario.variants();
        let builds: Vec<&str> = variants.iter().map(|variant| &*variant.name).collect();
        assert!(matches!(&*builds, [DEFECTIVE, .., FIXED]), "{}: {builds:?}", scenario.name);
        for variant in &variants {
            let guest = variant.guest.as_ref().unwrap_or(&scenario.text.guest);
            assert_eq!(*guest, format!("{name}-{}", variant.name), "{}", scenario.name);
        }
        for known in &scenario.text.known {
            assert_ne!(known.variant.as_deref(), Some(FIXED), "{}: {known:?}", scenario.name);
        }
    }
    for (name, column, reason) in SHARED {
        assert!(pieces().iter().any(|scenario| scenario.name == name), "SHARED names {name} for {column}: {reason}");
    }
}

/// Pieces without a public report of their own.
const WITHOUT_REPORT: [&str; 3] =
    ["arm64/museum_row_before_error", "x86_64/museum_late_row", "x86_64/museum_own_eh_frame"];

#[test]
fn each_piece_is_an_exhibit_or_has_no_report() {
    let groups = unwind_harness::museum::load(root()).expect("the exhibits load");
    let exhibits = || groups.iter().flat_map(|group| &group.exhibits);
    for piece in pieces() {
        let is_shown = exhibits().any(|exhibit| exhibit.scenario == piece.name);
        assert_eq!(is_shown, !WITHOUT_REPORT.contains(&&*piece.name), "{}", piece.name);
    }
    let page = std::fs::read_to_string(root().join("docs/museum.md")).expect("the page is there");
    for piece in WITHOUT_REPORT {
        assert!(page.contains(&format!("`{piece}`")), "docs/museum.md does not tell of {piece}");
    }
}

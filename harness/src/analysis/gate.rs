//! Gate 1: checks what a run found against what its scenario demands. Accepting a snapshot cannot relax this.

use super::novelty;
use crate::cpu::ALL;
use crate::recording::{Agreement, ColumnResult, Failure, Finding, ListedInstruction, Novelty, RECORDED, Section};
use crate::scenario::{Floor, Known, Level, Range, Scenario, Span, is_share};
use crate::subject::{self, is_name_or_label};
use crate::verdict::Verdict;

/// Checks the sections of each scenario against its demands. Unless `run_all`, demands on subjects that did not run are ignored.
pub fn hold_gates<'s>(scenarios: impl IntoIterator<Item = &'s Scenario>, sections: &mut [Section], run_all: bool) {
    for scenario in scenarios {
        let all: Vec<String> = subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect();
        let Some(first) = sections.iter().position(|section| section.scenario == scenario.name) else { continue };
        let count = sections[first..].iter().take_while(|section| section.scenario == scenario.name).count();
        check(scenario, &mut sections[first..first + count], &all, run_all);
    }
}

/// Fills in [`Section::failures`], and how each finding stands to the demands, for all sections of one scenario. `known_subjects`
/// names the CPU's subjects; unless all of them ran (`run_all`), demands on those that did not are ignored.
pub fn check(scenario: &Scenario, sections: &mut [Section], known_subjects: &[String], run_all: bool) {
    let mut used = vec![false; scenario.text.known.len()];
    let mut failures: Vec<Vec<Failure>> =
        sections.iter_mut().map(|section| of_section(scenario, section, &mut used)).collect();
    // What has not happened in part of a run, or in a run that is missing, may still happen in the rest; a case may be one of several
    // runs.
    let expected = scenario.variants().len() * scenario.text.interrupt.len();
    let is_cut = scenario.case().is_some()
        || scenario.state().is_some()
        || sections.len() < expected
        || !sections.iter().all(Section::is_whole);
    let label_exists = |label: &str| known_subjects.iter().any(|name| name == bare(label));
    let was_run =
        |label: &str| sections.iter().flat_map(|section| &section.columns).any(|column| column.name == bare(label));
    if let Some(first) = failures.first_mut() {
        for (known, used) in scenario.text.known.iter().zip(used) {
            if !label_exists(&known.unwinder) {
                let (name, known) = (&known.unwinder, known_subjects.join(", "));
                first.push(Failure::other(format!("[[known]] names {name:?}, which is not a subject here ({known})")));
            } else if (was_run(&known.unwinder) || run_all) && !used && !is_cut {
                first.push(Failure::other(stale(scenario, known)));
            }
        }
        first.extend(void_demands(scenario, sections, known_subjects, run_all && !is_cut));
        if sections.iter().any(|section| section.points == 0 && section.is_whole()) {
            first.push(Failure::other("the run has no point, so no demand was tested".to_owned()));
        }
    }
    for (section, failures) in sections.iter_mut().zip(failures) {
        section.failures = failures;
    }
}

/// Demands that no walk can meet or break. What has no walk is told only of a run of everything (`is_whole`).
fn void_demands(scenario: &Scenario, sections: &[Section], known_subjects: &[String], is_whole: bool) -> Vec<Failure> {
    let walks = |label: &str, variant: Option<&String>| {
        let of_variant = |section: &&Section| variant.is_none() || section.variant.as_ref() == variant;
        let results = sections.iter().filter(of_variant).flat_map(|section| &section.columns);
        let own = results.filter(|column| is_name_or_label(label, &column.name, column.start));
        own.map(|column| column.counters.walks).sum::<u64>()
    };
    let mut failures = Vec::new();
    for (subject, demand) in &scenario.text.must {
        let exists = known_subjects.iter().any(|name| name == bare(subject));
        let somewhere = ALL.iter().flat_map(|cpu| crate::subject::all(cpu));
        let message = match demand.level {
            Level::Absent if exists => Some("must be absent, but it exists on this CPU"),
            Level::Absent if !somewhere.into_iter().any(|other| other.about().name == bare(subject)) => {
                Some("must be absent, but there is no such subject on any CPU")
            }
            Level::Absent => None,
            _ if !exists => Some("is not a subject here, so the demand means nothing"),
            _ if is_whole && walks(subject, None) == 0 => Some("makes no walk here, so the demand means nothing"),
            _ => None,
        };
        let known = if exists { String::new() } else { format!(" ({})", known_subjects.join(", ")) };
        failures.extend(message.map(|message| Failure::other(format!("[must]: {subject} {message}{known}"))));
        let named = demand.exact.iter().flat_map(Floor::variants).filter(|_| is_whole && message.is_none());
        failures.extend(named.filter(|variant| walks(subject, Some(variant)) == 0).map(|variant| {
            let what = format!("{subject} makes no walk in variant {variant}, so its floor means nothing");
            Failure::other(format!("[must]: {what}"))
        }));
    }
    failures
}

/// A subject without its start.
fn bare(label: &str) -> &str {
    label.split_once('@').map_or(label, |(name, _)| name)
}

fn of_section(scenario: &Scenario, section: &mut Section, used: &mut [bool]) -> Vec<Failure> {
    let target = target(scenario);
    section.target = (target != scenario.name).then_some(target);
    if section.not_judged.is_some() || section.interrupted {
        return Vec::new(); // a gate holds, or breaks, over a whole run
    }
    let variants = scenario.variants();
    let variant = variants.iter().find(|variant| section.variant.as_ref().is_none_or(|name| variant.name == *name));
    if let Some(expected) = variant.and_then(|variant| scenario.expected_void(variant))
        && !section.void_is_meant
    {
        let found = section.void.as_deref().unwrap_or("the run is not void");
        return vec![Failure::other(format!("the run must be void because of {expected:?}, but: {found}"))];
    }
    if section.void.is_some() {
        return Vec::new(); // a void run has no verdicts to check; the report says that it is void
    }
    let open = stand(scenario, section, used);
    section.undemanded = !section.columns.is_empty() && section.columns.iter().all(|it| is_free(scenario, section, it));
    let section = &*section;
    // For each subject, start and verdict: the first finding, and how many more there are.
    let mut failures: Vec<((String, Verdict), Failure, usize)> = Vec::new();
    for (finding, open) in section.findings.iter().zip(open) {
        let Some(offset) = open else { continue };
        if let Some((_, _, more)) = failures.iter_mut().find(|(key, _, _)| *key == (finding.label(), finding.verdict)) {
            *more += 1;
        } else {
            let level = scenario.text.level(&finding.subject, finding.start, section.gate(&finding.subject));
            let failure = failure(scenario, section, finding, level, offset);
            failures.push(((finding.label(), finding.verdict), failure, 0));
        }
    }
    let with_count = |(_, mut failure, more): (_, Failure, usize)| {
        if more > 0 {
            failure.message += &format!("\n    and {more} more findings of this kind");
        }
        failure
    };
    let found = failures.into_iter().map(with_count);
    let held = unread(scenario, section).chain(found);
    let held = held.chain(below_floor(scenario, section)).chain(reads_outside(scenario, section));
    held.chain(disagreements(scenario, section)).chain(unlike_recorded(section)).collect()
}

/// Whether no verdict of a column can break a gate.
fn is_free(scenario: &Scenario, section: &Section, column: &ColumnResult) -> bool {
    let text = &scenario.text;
    let floor = text.floor(&column.name, column.start, section.variant.as_deref());
    let level = text.level(&column.name, column.start, column.gate);
    floor.is_none() && matches!(level, Level::Any | Level::Absent)
}

/// Says of each finding how it stands to the demands. Returns the first instruction at which each breaks them.
fn stand(scenario: &Scenario, section: &mut Section, used: &mut [bool]) -> Vec<Option<u64>> {
    let spans: Vec<Option<Range>> = scenario.text.known.iter().map(|known| span(known, section)).collect();
    let mut reasons: Vec<String> = Vec::new();
    let standings: Vec<Standing> = { section.findings.iter() }
        .map(|finding| {
            let level = scenario.text.level(&finding.subject, finding.start, section.gate(&finding.subject));
            let mut standing = Standing::default();
            let listed = scenario.text.known.iter().zip(&spans).zip(used.iter_mut());
            let listed = listed.filter_map(|((known, span), used)| Some((known, span.as_ref()?, used)));
            let mut listed: Vec<_> = listed.filter(|(known, span, _)| names(known, span, section, finding)).collect();
            // A finding spans neighbours and [[known]] may cover only some of them, so each instruction is checked.
            for offset in section.offsets(finding) {
                let mut because = None;
                for (known, span, used) in &mut listed {
                    if reaches(known, span, section, finding, offset) {
                        because.get_or_insert(&known.because);
                        **used = **used || is_real(known, span, section);
                    }
                }
                standing.reason = standing.reason.or_else(|| because.map(|because| place(&mut reasons, because)));
                let novelty = novelty::of(level, finding.verdict, because.is_some());
                standing.novelty = standing.novelty.max(Some(novelty));
                if novelty == Novelty::New {
                    standing.first.get_or_insert(offset);
                    standing.new += novelty::walks_at(section, finding, offset);
                }
            }
            standing
        })
        .collect();
    for (finding, standing) in section.findings.iter_mut().zip(&standings) {
        (finding.novelty, finding.new, finding.reason) = (standing.novelty, standing.new, standing.reason);
    }
    section.reasons = reasons;
    standings.iter().map(|standing| standing.first).collect()
}

/// How a finding stands to the demands.
#[derive(Default)]
struct Standing {
    novelty: Option<Novelty>,
    new: u64,
    reason: Option<usize>,
    /// The first instruction at which it breaks them.
    first: Option<u64>,
}

/// The place of a reason in a list, to which it is added if it is not there.
fn place(reasons: &mut Vec<String>, because: &str) -> usize {
    let found = reasons.iter().position(|reason| reason == because);
    found.unwrap_or_else(|| {
        reasons.push(because.to_owned());
        reasons.len() - 1
    })
}

/// Unwind data that no subject could use, unless the scenario gives the reason. A kernel image reads its own data itself: what our
/// models cannot read costs them their column, which the report says.
fn unread<'s>(scenario: &'s Scenario, section: &'s Section) -> impl Iterator<Item = Failure> + use<'s> {
    let is_listed = |format: &str| scenario.text.unjudged.iter().any(|list| list.is_of(format));
    let is_image = scenario.text.linux.is_some();
    section.unread.iter().filter(move |data| !is_image && !is_listed(&data.format)).map(|data| {
        Failure::other(format!(
            "{} of the guest were not read: {}; mend them, or give the reason in [[unjudged]]",
            data.format, data.reason
        ))
    })
}

/// Subjects that are right too seldom, with the command that lists where they are not.
fn below_floor<'s>(scenario: &'s Scenario, section: &'s Section) -> impl Iterator<Item = Failure> + use<'s> {
    section.columns.iter().filter_map(|column| {
        let (exact, walks) = (column.counters.exact, column.counters.walks);
        let floor = scenario.text.floor(&column.name, column.start, section.variant.as_deref())?;
        if is_share(floor, exact, walks) {
            return None;
        }
        let (label, title, percent) = (column.label(), section.title(), u128::from(exact) * 100 / u128::from(walks));
        Some(Failure::other(format!(
            "{label} must be = in {floor} percent of its walks or more, but is in {percent} ({exact} of {walks} walks of {title})\n    \
             unwind-harness run --listing --unwinder {} {}",
            column.name,
            target(scenario)
        )).of(&label))
    })
}

/// Walks that are not those that a frozen case records.
fn unlike_recorded(section: &Section) -> impl Iterator<Item = Failure> + '_ {
    let differ = section.agreements.iter().filter(|agreement| agreement.model == RECORDED && agreement.differ > 0);
    differ.map(|Agreement { own, points, differ, first, .. }| {
        let first = first.as_ref().map_or(String::new(), |first| {
            let (now, then) = (first.own.join(" < "), first.model.join(" < "));
            format!(", first at {}\n    recorded: {then}\n    now:      {now}", first.point)
        });
        Failure::other(format!("{own} differs from {RECORDED} at {differ} of {points} points{first}")).of(own)
    })
}

/// Models that do not give what the kernel's own code gives: a fault of ours.
fn disagreements(scenario: &Scenario, section: &Section) -> Vec<Failure> {
    let differ = section.agreements.iter().filter(|agreement| agreement.model != RECORDED && agreement.differ > 0);
    differ
        .map(|Agreement { own, model, points, differ, first }| {
            let first = first.as_ref().map_or(String::new(), |first| {
                let (own, model) = (first.own.join(" < "), first.model.join(" < "));
                let (point, command) =
                    (&first.point, explain(scenario, section, &first.point, &[own.as_str(), model.as_str()]));
                format!(", first at {point}\n    kernel: {own}\n    model:  {model}\n    {command}")
            });
            Failure::other(format!(
                "{model} differs from {own}, the kernel's own, at {differ} of {points} points{first}"
            ))
            .of(model)
        })
        .collect()
}

/// Demands a level of the walks of these subjects in all runs, whatever the scenarios say: for subjects that no scenario names. One
/// that makes no walk at all breaks the demand too.
pub fn demand(sections: &mut [Section], subjects: &[&str], level: Level) {
    for section in sections.iter_mut().filter(|section| section.is_whole()) {
        let mut failures: Vec<Failure> = Vec::new();
        let columns = section.columns.iter().filter(|column| subjects.contains(&column.name.as_str()));
        for label in columns.map(ColumnResult::label) {
            section.undemanded = false;
            let broken: Vec<usize> = (0..section.findings.len())
                .filter(|index| {
                    section.findings[*index].label() == label && !level.allows(section.findings[*index].verdict)
                })
                .collect();
            let Some(first) = broken.first().map(|index| &section.findings[*index]) else { continue };
            let walks: u64 = broken.iter().map(|index| section.findings[*index].count).sum();
            let command = section.explain_command(&first.first.point, &first.subject);
            let (verdict, range) = (first.verdict, &first.range);
            let message =
                format!("{label}: {walks} walks are not as demanded; the first: {verdict} at {range}\n    {command}");
            let is_unsound = broken.iter().any(|index| section.findings[*index].verdict.is_unsound());
            failures.push(Failure { is_unsound, ..Failure::other(message) }.of(&label));
            for index in broken {
                let finding = &mut section.findings[index];
                (finding.new, finding.novelty) = (finding.count, Some(Novelty::New));
            }
        }
        section.failures.extend(failures);
    }
    let walks = |name: &str| {
        let mut own = sections.iter().flat_map(|section| &section.columns).filter(|column| column.name == name);
        own.any(|column| column.counters.walks > 0)
    };
    let idle = subjects.iter().filter(|name| !walks(name));
    let idle: Vec<Failure> =
        idle.map(|name| Failure::other(format!("{name} makes no walk here, so the demand means nothing"))).collect();
    if let Some(first) = sections.first_mut() {
        first.failures.extend(idle);
    }
}

/// Subjects that read more than they were offered.
fn reads_outside(scenario: &Scenario, section: &Section) -> Vec<Failure> {
    let strays = section.columns.iter().filter(|column| column.reads_outside_stacks > 0);
    let strays = strays.filter(|column| scenario.text.level(&column.name, column.start, column.gate) != Level::Any);
    strays
        .map(|column| {
            let (label, count) = (column.label(), column.reads_outside_stacks);
            Failure::other(format!("{label} read outside the stacks that it was offered, in {count} walks")).of(&label)
        })
        .collect()
}

/// The first arrival at an instruction of a finding that has its verdict.
fn first_visit(section: &Section, finding: &Finding, offset: u64) -> u64 {
    if offset == finding.range.first {
        return finding.first.visit;
    }
    let is_its = |column: &ColumnResult| (column.name.as_str(), column.start) == (&*finding.subject, finding.start);
    let column = section.columns.iter().position(is_its);
    let functions = section.functions.iter().filter(|function| function.name == finding.range.function);
    let instruction = functions.flat_map(|function| &function.instructions).find(|one| one.offset == offset);
    let runs = column.zip(instruction).and_then(|(column, instruction)| instruction.runs.get(column));
    let run = runs
        .and_then(|runs| runs.iter().find(|run| (run.verdict, run.reachable) == (finding.verdict, finding.reachable)));
    run.map_or(1, |run| run.first)
}

/// How a command names what a scenario runs: a case has no image and no guest, and an image is the user's.
fn target(scenario: &Scenario) -> String {
    match (scenario.case(), scenario.image()) {
        (Some(case), _) if case.path.as_os_str().is_empty() => "--case FILE".to_owned(),
        (Some(case), _) => format!("--case {}", case.path.display()),
        (None, Some(_)) => format!("--linux IMAGE {}", scenario.name),
        (None, None) => scenario.name.clone(),
    }
}

/// The command that explains a point of a section.
fn explain(scenario: &Scenario, section: &Section, point: &str, unwinders: &[&str]) -> String {
    let mut command = format!("unwind-harness explain {} {point}", target(scenario));
    // Without one, `explain` takes the scenario's first.
    if scenario.text.interrupt.first() != Some(&section.interrupt) {
        command += &format!(" --interrupt {}", section.interrupt.name());
    }
    match &section.variant {
        Some(release) if scenario.image().is_some() => command += &format!(" (in {release})"),
        Some(variant) if scenario.case().is_none() => command += &format!(" --variant {variant}"),
        _ => {}
    }
    for label in unwinders {
        command += &format!(" --unwinder {}", bare(label));
    }
    command
}

/// A finding that a demand does not allow, with the command that shows it.
fn failure(scenario: &Scenario, section: &Section, finding: &Finding, level: Level, offset: u64) -> Failure {
    let visit = first_visit(section, finding, offset);
    let command =
        explain(scenario, section, &format!("{}+{offset:#x}#{visit}", finding.range.function), &[&finding.subject]);
    let (label, level, verdict, range) = (finding.label(), name(level), finding.verdict, &finding.range);
    let state = finding.first.state.first().map_or(String::new(), |first| match finding.first.state.len() {
        1 => format!(" ({first})"),
        count => format!(" ({first}, and {} more)", count - 1),
    });
    Failure {
        message: format!("{label} must be {level}, but is {verdict} at {range}{state}\n    {command}"),
        is_unsound: matches!(finding.verdict, Verdict::Unsound(_)),
        column: Some(finding.label()),
    }
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Exact => "exact",
        Level::Sound => "sound",
        Level::Any => "any",
        Level::Absent => "absent",
    }
}

/// The offsets of an expected deviation in a section: the transcribed ones, or, where it is named, those of the guest.
fn span(known: &Known, section: &Section) -> Option<Range> {
    if let Span::Offsets(range) = &known.at.span {
        return Some(range.clone());
    }
    section.functions.iter().find_map(|function| {
        let labels: Vec<(&str, u64)> = function.labels.iter().map(|it| (it.name.as_str(), it.offset)).collect();
        let offsets: Vec<u64> = function.instructions.iter().map(|instruction| instruction.offset).collect();
        known.at.within(&function.name, &labels, &offsets)
    })
}

fn covers(known: &Known, span: &Range, section: &Section, finding: &Finding, offset: u64) -> bool {
    names(known, span, section, finding) && reaches(known, span, section, finding, offset)
}

/// Whether a known deviation is of the kind of a finding, and in its function.
fn names(known: &Known, span: &Range, section: &Section, finding: &Finding) -> bool {
    known.verdict == finding.verdict
        && is_name_or_label(&known.unwinder, &finding.subject, finding.start)
        && span.function == finding.range.function
        && known.interrupt.is_none_or(|kind| kind == section.interrupt)
        && known.variant.as_ref().is_none_or(|name| section.variant.as_ref() == Some(name))
}

/// Whether a known deviation, of the kind of a finding, reaches to one of its instructions.
fn reaches(known: &Known, span: &Range, section: &Section, finding: &Finding, offset: u64) -> bool {
    (span.first..=span.last).contains(&offset) && (!known.at.while_lost || is_lost(section, finding, offset))
}

/// Whether no rule can find the displaced address at any arrival from which the walks of a finding start at an instruction.
fn is_lost(section: &Section, finding: &Finding, offset: u64) -> bool {
    let column = section.columns.iter().position(|it| (&it.name, it.start) == (&finding.subject, finding.start));
    let mut functions = section.functions.iter().filter(|function| function.name == finding.range.function);
    let instruction = functions.find_map(|function| function.instructions.iter().find(|it| it.offset == offset));
    let (Some(column), Some(instruction)) = (column, instruction) else { return false };
    let mut runs = instruction.runs.get(column).into_iter().flatten().filter(|run| run.verdict == finding.verdict);
    runs.all(|run| (run.first..=run.last).all(|arrival| instruction.displaced(arrival).is_some_and(|it| it.lost)))
}

/// Whether a known range is no wider than its deviation. By offsets, it happens at both ends; by names, which stand for all that is
/// between them, at every instruction from which the subject walks, in the state that counts.
fn is_real(known: &Known, span: &Range, section: &Section) -> bool {
    let shows = |offset: u64| {
        section.findings.iter().any(|other| {
            covers(known, span, section, other, offset) && section.offsets(other).any(|found| found == offset)
        })
    };
    if matches!(known.at.span, Span::Offsets(_)) {
        return shows(span.first) && shows(span.last);
    }
    let columns: Vec<usize> = section
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_name_or_label(&known.unwinder, &column.name, column.start))
        .map(|(index, _)| index)
        .collect();
    let is_walked = |instruction: &&ListedInstruction| {
        (span.first..=span.last).contains(&instruction.offset)
            && columns.iter().any(|index| instruction.runs.get(*index).is_some_and(|runs| !runs.is_empty()))
            && (!known.at.while_lost || instruction.addresses.iter().any(|address| address.lost))
    };
    let functions = section.functions.iter().filter(|function| function.name == span.function);
    let mut walked = functions.flat_map(|function| &function.instructions).filter(is_walked).peekable();
    walked.peek().is_some() && walked.all(|instruction| shows(instruction.offset))
}

fn stale(scenario: &Scenario, known: &Known) -> String {
    let place = match known.at.span {
        Span::Offsets(_) => "at both ends of its range",
        Span::Labels { .. } | Span::Function(_) => "at every instruction there",
    };
    format!(
        "{}: [[known]] {} {} at {} does not happen {place}: correct or remove it",
        scenario.path.display(),
        known.unwinder,
        known.verdict,
        known.at
    )
}

//! Unit and property tests of the form. harness/tests/scenarios.rs tests it on all runs.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRunner};

use super::alphabet::{self, Cell, append};
use super::head::{fold, unfold};
use super::{Page, Start, is_lost, parse, range, write};
use crate::experiment::LeftOut;
use crate::guest::return_hook::Fix;
use crate::recording::{self, ColumnResult, Counters, GuestRef, Run};
use crate::scenario::Interruption;
use crate::subject::{Claims, Gate, Status};
use crate::verdict::{Deviation, Verdict};

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x5f),
        ..ProptestConfig::default()
    })
}

fn all_verdicts() -> Vec<Verdict> {
    let claimed = |kind: Deviation| if kind.is_omission() { Verdict::Unsound(kind) } else { Verdict::Overstated(kind) };
    let mut all: Vec<Verdict> =
        Deviation::ALL.into_iter().flat_map(|kind| [claimed(kind), Verdict::WrongFlagged(kind)]).collect();
    all.extend([0, 1, 9, 10, 12, u16::MAX].map(Verdict::Incomplete));
    all.extend([Verdict::Crashed, Verdict::TimedOut, Verdict::Cautious, Verdict::Exact]);
    all
}

/// The stretches of a cell: a verdict, or none, and how many arrivals.
type Parts<'p> = &'p [(Option<Verdict>, u64)];

fn cell(parts: Parts<'_>) -> Cell {
    let mut cell = Cell::new();
    parts.iter().for_each(|(verdict, count)| append(&mut cell, *verdict, *count));
    cell
}

#[test]
fn every_verdict_has_a_symbol_of_its_own() {
    let cells: Vec<Cell> = all_verdicts().into_iter().map(|verdict| cell(&[(Some(verdict), 1)])).collect();
    let text = alphabet::write(&cells);
    assert_eq!(text, "SsTtUuIiRrXxDd019(10)(12)(65535)#%~=");
    assert_eq!(alphabet::read(&text, cells.len(), 1), Ok(cells));
}

#[test]
fn arrivals_are_counted_where_that_is_shorter() {
    let (exact, stopped) = (Some(Verdict::Exact), |right| Some(Verdict::Incomplete(right)));
    let cases: [(Parts<'_>, &str); 9] = [
        (&[], "."),
        (&[(exact, 7)], "="),
        (&[(exact, 3), (stopped(2), 1)], "[===2]"),
        (&[(exact, 4), (stopped(2), 4)], "[=*4,2*4]"),
        (&[(exact, 40), (stopped(12), 2)], "[=*40(12)*2]"),
        (&[(stopped(12), 1), (stopped(3), 1), (exact, 1)], "[(12)3=]"),
        (&[(None, 1), (exact, 1)], "[.=]"),
        (&[(exact, 1), (None, 30), (exact, 1)], "[=.*30=]"),
        (&[(exact, 100_000), (Some(Verdict::Unsound(Deviation::Skipped)), 1)], "[=*100000S]"),
    ];
    for (parts, text) in cases {
        let cells = [cell(parts)];
        assert_eq!(alphabet::write(&cells), text);
        assert_eq!(alphabet::read(text, 1, alphabet::length(&cells[0])), Ok(cells.to_vec()));
    }
}

#[test]
fn a_column_that_varies_as_the_one_before_says_so() {
    let mixed = cell(&[(Some(Verdict::Exact), 1), (None, 1)]);
    let cells = [mixed.clone(), mixed.clone(), cell(&[(Some(Verdict::Cautious), 2)]), mixed];
    assert_eq!(alphabet::write(&cells), "[=.]\"~[=.]");
    assert_eq!(alphabet::read("[=.]\"~[=.]", 4, 2), Ok(cells.to_vec()));
}

#[test]
fn what_is_no_cell_is_refused() {
    for text in
        ["", "?", "e", "E", "\"", "[=", "[=*]", "[=*2", "(", "(x)", "(65536)", "[=*99999999999999999999]", "[=]", "é"]
    {
        assert!(alphabet::read(text, 1, 2).is_err(), "{text}");
    }
    assert!(alphabet::read("==", 1, 2).is_err());
}

#[test]
fn ranges_and_steps_read_back() {
    for ranges in [&[(1, 3), (4, 4), (9, 12)][..], &[(7, 7)]] {
        assert_eq!(range::read(&range::write(ranges)).as_deref(), Ok(ranges));
    }
    assert_eq!(range::write_steps(&[4, 4, 4, 2, 15]), "4*3,2,15");
    assert_eq!(range::read_steps("4*3,2,15"), Ok(vec![4, 4, 4, 2, 15]));
    for text in ["", "0", "4*", "4*x", "-1", "4*99999999"] {
        assert!(range::read_steps(text).is_err(), "{text}");
    }
    for text in ["", "3-1", "1-", "a"] {
        assert!(range::read(text).is_err(), "{text}");
    }
}

#[test]
fn wide_lines_are_folded_and_unfolded() {
    let words: Vec<String> = (0..60).map(|number| format!("{}  word{number}", "|".repeat(number % 3))).collect();
    for line in [words.join(" "), "x".repeat(500), "]".repeat(120), "short".to_owned(), String::new()] {
        let mut folded = String::new();
        fold(&line, 120, &mut folded);
        assert!(folded.lines().all(|line| line.len() <= 120), "{folded}");
        assert_eq!(unfold(&folded), [(1, line)]);
    }
}

fn subject(name: &str, start: Start) -> ColumnResult {
    let counters = Counters::default();
    let (claims, fix) = (Claims::ByEnd, Fix::None);
    let (status, caller) = (Status::Design, None);
    ColumnResult {
        name: name.to_owned(),
        claims,
        fix,
        status,
        gate: Gate::Sound,
        command: None,
        caller,
        start,
        counters,
        reads_outside_stacks: 0,
    }
}

/// Runs from stretches; None is an arrival without a walk.
fn runs(stretches: &[(Option<(Verdict, bool)>, u64)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut first = 1;
    for (what, count) in stretches {
        let last = first + count - 1;
        match (what, runs.last_mut()) {
            (Some((verdict, reachable)), Some(run))
                if (run.verdict, run.reachable, run.last + 1) == (*verdict, *reachable, first) =>
            {
                run.last = last;
            }
            (Some((verdict, reachable)), _) => {
                runs.push(Run { verdict: *verdict, reachable: *reachable, first, last });
            }
            (None, _) => {}
        }
        first = last + 1;
    }
    runs
}

fn section(variant: Option<&str>, interrupt: Interruption, starts: &[Start]) -> recording::Section {
    let names = ["frame-record", "sframe", "sframe:best-effort"];
    recording::Section {
        scenario: "cpu/scenario".to_owned(),
        variant: variant.map(str::to_owned),
        interrupt,
        points: 12,
        distinct_pcs: 3,
        outer: (interrupt == Interruption::Nested).then_some((20, 3)),
        left_out: match interrupt {
            Interruption::Irq => LeftOut { arrivals: 60, other_states: 0 },
            Interruption::Nested => LeftOut { arrivals: 2000, other_states: 7 },
            _ => LeftOut::default(),
        },
        unwitnessed: vec![("schedule+0x2e".to_owned(), 1), ("idle".to_owned(), 2)],
        void: None,
        void_is_meant: false,
        not_judged: None,
        interrupted: false,
        undemanded: false,
        claims: Vec::new(),
        return_hook: None,
        condition: None,
        unread: Vec::new(),
        subjects: Vec::new(),
        guest: GuestRef::default(),
        columns: names.iter().flat_map(|name| starts.iter().map(|start| subject(name, *start))).collect(),
        functions: Vec::new(),
        findings: Vec::new(),
        reasons: Vec::new(),
        target: None,
        agreements: Vec::new(),
        failures: Vec::new(),
    }
}

/// What the page of these sections should say; of walks without an order, one order.
fn said(sections: &[recording::Section]) -> Page {
    let sections = sections.iter().map(|section| {
        let functions = section.functions.iter().map(|function| super::Function {
            name: function.name.clone(),
            instructions: function.instructions.iter().map(instruction).collect(),
        });
        let subjects = section.columns.iter().map(|subject| super::Subject {
            name: subject.name.clone(),
            start: subject.start,
            counters: subject.counters,
            reads_outside_stacks: subject.reads_outside_stacks,
        });
        super::Section {
            variant: section.variant.clone(),
            interrupt: section.interrupt.name().to_owned(),
            points: section.points,
            distinct_pcs: section.distinct_pcs,
            outer: section.outer,
            left_out: section.left_out,
            unwitnessed: section.unwitnessed.clone(),
            void: None,
            subjects: subjects.collect(),
            functions: functions.collect(),
        }
    });
    Page { scenario: "cpu/scenario".to_owned(), sections: sections.collect() }
}

fn instruction(from: &recording::ListedInstruction) -> super::Instruction {
    let addresses = from.addresses.iter().map(|run| super::Displaced {
        places: run.places.clone(),
        lost: run.lost,
        first: run.first,
        last: run.last,
    });
    super::Instruction {
        offset: from.offset,
        visits: from.visits,
        split: from.split,
        addresses: addresses.collect(),
        runs: from.runs.to_vec(),
    }
}

fn page(sections: &[recording::Section]) -> String {
    let mut page = Vec::new();
    write(sections, &mut page).expect("a page can be made");
    String::from_utf8(page).expect("a page is text")
}

/// Counts what the instructions say.
fn count(section: &mut recording::Section) {
    for (column, subject) in section.columns.iter_mut().enumerate() {
        for run in
            section.functions.iter().flat_map(|it| &it.instructions).filter_map(|it| it.runs.get(column)).flatten()
        {
            subject.counters.add(run.verdict, run.reachable, run.last - run.first + 1);
        }
    }
}

/// Verdicts by arrival: mostly the same, some masked, some without a walk.
fn any_runs() -> impl Strategy<Value = Vec<Run>> {
    let few = vec![Verdict::Exact, Verdict::Unsound(Deviation::Skipped), Verdict::Incomplete(3)];
    let verdict = prop_oneof![4 => select(few), 1 => select(all_verdicts())];
    let what = proptest::option::weighted(0.9, (verdict, prop::bool::weighted(0.8)));
    let count = prop_oneof![6 => 1..4u64, 1 => 4..2000u64];
    vec((what, count), 0..4).prop_map(|stretches| runs(&stretches))
}

fn any_instruction(columns: usize) -> impl Strategy<Value = recording::ListedInstruction> {
    let places = select(vec!["ret_stack", "ret_stack+x23+stack+stale", "lost", "lost:x0+stack"]);
    let addresses = vec((places, 1..3u64, 1..30u64), 0..4).prop_map(|parts| {
        let mut next = 1;
        let runs = parts.into_iter().map(|(places, gap, count)| {
            let first = next + gap - 1;
            next = first + count;
            recording::Displaced {
                places: places.to_owned(),
                lost: is_lost(places),
                trampoline_of: None,
                first,
                last: next - 1,
            }
        });
        runs.collect::<Vec<_>>()
    });
    let one = any_runs().prop_map(move |runs| vec![runs; columns]);
    let runs = prop_oneof![3 => one, 1 => vec(any_runs(), columns..=columns)];
    let text =
        select(vec!["ret", "ldr   x9, [x9] | odd", "b.ne  a_function_with_a_name_that_needs_all_the_room+0x104"]);
    (runs, addresses, any::<bool>(), 0..3u64, text).prop_map(|(runs, addresses, split, more, text)| {
        let last = runs.iter().flatten().map(|run| run.last).max().unwrap_or(0);
        let ran = last > 0 || more > 0;
        recording::ListedInstruction {
            offset: 0,
            text: text.to_owned(),
            visits: last + more,
            split: split && ran,
            addresses: if ran { addresses } else { Vec::new() }.into(),
            runs: if ran { runs } else { Vec::new() }.into(),
        }
    })
}

/// A function of which each kind of interruption has its own copy.
fn any_function(kinds: usize, columns: usize) -> impl Strategy<Value = Vec<Vec<recording::ListedInstruction>>> {
    let row = prop_oneof![
        2 => any_instruction(columns).prop_map(move |instruction| vec![instruction; kinds]),
        1 => vec(any_instruction(columns), kinds..=kinds),
    ];
    (vec((row, 1..4usize, select(vec![2, 4, 4, 4, 15u64])), 1..6)).prop_map(|rows| {
        let mut offset = 0;
        let mut instructions = Vec::new();
        for (mut row, repeat, step) in rows {
            for _ in 0..repeat {
                row.iter_mut().for_each(|instruction| instruction.offset = offset);
                offset += step;
                instructions.push(row.clone());
            }
        }
        instructions
    })
}

fn any_sections() -> impl Strategy<Value = Vec<recording::Section>> {
    let kinds =
        subsequence(vec![Interruption::Irq, Interruption::Nmi, Interruption::Fault, Interruption::Nested], 1..4);
    let starts = select(vec![
        vec![Start::Live],
        vec![Start::Current, Start::Regs],
        vec![Start::Current, Start::Regs, Start::User],
    ]);
    (kinds, starts, any::<bool>()).prop_flat_map(|(kinds, starts, variants)| {
        let variants = if variants { vec![Some("one"), Some("two")] } else { vec![None] };
        let (count_of_kinds, columns) = (kinds.len(), 3 * starts.len());
        let functions = vec(any_function(count_of_kinds, columns), 1..3);
        vec(functions, variants.len()).prop_map(move |functions| {
            let mut sections = Vec::new();
            for (variant, functions) in variants.iter().zip(functions) {
                for (index, kind) in kinds.iter().enumerate() {
                    let mut section = section(*variant, *kind, &starts);
                    section.functions = (0..)
                        .zip(&functions)
                        .map(|(number, rows)| recording::ListedFunction {
                            name: format!("function_{number}"),
                            trampoline_of: None,
                            labels: Vec::new(),
                            instructions: rows.iter().map(|row| row[index].clone()).collect(),
                        })
                        .collect();
                    count(&mut section);
                    sections.push(section);
                }
            }
            sections
        })
    })
}

#[test]
fn every_page_reads_back() {
    runner(400)
        .run(&any_sections(), |sections| {
            let page = page(&sections);
            prop_assert!(page.lines().all(|line| line.chars().count() <= 120), "{}", page);
            prop_assert_eq!(parse(&page).map_err(|error| format!("{error}\n{page}")), Ok(said(&sections)));
            Ok(())
        })
        .expect("every page reads back");
}

#[test]
fn no_damage_to_a_page_makes_the_parser_panic() {
    let change = (any::<Index>(), select(" =~S0129(*[]\",|-@#;:+x\n\\aé".chars().collect::<Vec<_>>()));
    runner(400)
        .run(&(any_sections(), vec(change, 1..4)), |(sections, changes)| {
            let mut page: Vec<char> = page(&sections).chars().collect();
            for (place, letter) in changes {
                let place = place.index(page.len());
                page[place] = letter;
            }
            let _ = parse(&page.into_iter().collect::<String>());
            Ok(())
        })
        .expect("no panic");
}

#[test]
fn counts_that_are_not_those_of_the_verdicts_are_refused() {
    let mut section = section(None, Interruption::Probe, &[Start::Live]);
    let instruction = recording::ListedInstruction {
        offset: 0,
        text: "ret".to_owned(),
        visits: 1,
        split: false,
        addresses: Vec::new().into(),
        runs: vec![runs(&[(Some((Verdict::Exact, true)), 1)]); 3].into(),
    };
    section.functions = vec![recording::ListedFunction {
        name: "leaf".to_owned(),
        trampoline_of: None,
        labels: Vec::new(),
        instructions: vec![instruction],
    }];
    count(&mut section);
    let page = page(&[section]);
    assert!(parse(&page).is_ok(), "{page}");
    let error = parse(&page.replace("===", "==s")).expect_err("a verdict was changed");
    assert!(error.contains("not those of its verdicts"), "{error}");
}

#[test]
fn a_void_section_says_why() {
    let mut void = section(None, Interruption::Irq, &[Start::Current]);
    void.void = Some("the witnesses contradict each other".to_owned());
    let page = page(&[void]);
    let read = parse(&page).expect("it reads back");
    assert_eq!(read.sections[0].void.as_deref(), Some("the witnesses contradict each other"));
}

#[test]
fn the_order_of_damage_is_not_kept() {
    let walk = |verdict, first| Run { verdict, reachable: true, first, last: first };
    let (exact, skipped) = (Verdict::Exact, Verdict::WrongFlagged(Deviation::Skipped));
    let mut one = section(None, Interruption::Corrupt, &[Start::Task]);
    let column = vec![walk(exact, 1), walk(skipped, 2), walk(exact, 3)];
    let instruction = recording::ListedInstruction {
        offset: 0,
        text: "ret".to_owned(),
        visits: 3,
        split: false,
        addresses: Vec::new().into(),
        runs: vec![column; 3].into(),
    };
    one.functions = vec![recording::ListedFunction {
        name: "leaf".to_owned(),
        trampoline_of: None,
        labels: Vec::new(),
        instructions: vec![instruction],
    }];
    count(&mut one);
    let mut other = one.clone();
    for runs in other.functions[0].instructions[0].runs.iter_mut() {
        *runs = vec![walk(skipped, 1), walk(exact, 2), walk(exact, 3)];
    }
    assert_eq!(page(&[one.clone()]), page(&[other]));
    assert!(page(&[one]).contains("[==s]"));
}

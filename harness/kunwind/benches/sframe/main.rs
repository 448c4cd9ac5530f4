//! What SFrame and CFI cost: looking up a pc, walking a stack, reading a whole section; beside simple-frame-rs on the same SFrame
//! section, and gimli and framehop on the same rows as `.eh_frame`, in one run.
//!
//! `cargo bench -p kunwind --features alloc --bench sframe` prints divan's table, and then the fastest sample of each case with its
//! ratio to ours. Compare ratios, not nanoseconds. The pcs are spread over all functions in an order that no cache knows
//! beforehand. framehop keeps the rules of the pcs that it has seen, so it is also measured with a new cache for each walk; and kunwind
//! also with a cache of rows, as the harness has one.
//!
//! All walk the same stack to its end, and read two words in each of its frames. The return address of the oldest is 0, at which framehop
//! stops; kunwind shows one frame more there, and looks it up.

mod cfi;
mod data;
#[path = "../../tests/no_kernel.rs"]
mod no_kernel;
mod walks;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use kunwind::Entry;
use kunwind::sframe::SFrameSection;

use cfi::{lookup_gimli, lookup_table, walk_gimli};
use data::{AT, FRAMES, LOOKUPS, ROWS, SECTION, SIZE, TEXT, order, sframe};
use walks::{walk_cfi, walk_framehop, walk_sframe};

const COUNTS: [u64; 3] = [1, 1_000, 100_000];

/// What is measured: looking up a pc, walking a frame, reading a row; by whom; and what does it, with this many functions.
struct Case {
    what: &'static str,
    who: &'static str,
    /// How many things one call of the work does.
    items: fn(u64) -> u64,
    prepare: fn(u64) -> Box<dyn FnMut()>,
}

const CASES: [Case; 14] = [
    Case { what: "lookup", who: "kunwind", items: |_| LOOKUPS, prepare: lookup_kunwind },
    Case { what: "lookup", who: "simple-frame-rs", items: |_| LOOKUPS, prepare: lookup_simple_frame_rs },
    Case { what: "walk, a frame", who: "kunwind", items: |_| FRAMES, prepare: |count| walk_sframe(count, false) },
    Case {
        what: "walk, a frame",
        who: "kunwind, rows cached",
        items: |_| FRAMES,
        prepare: |count| walk_sframe(count, true),
    },
    Case {
        what: "walk, a frame",
        who: "framehop, new cache",
        items: |_| FRAMES,
        prepare: |count| walk_framehop(count, false),
    },
    Case {
        what: "walk, a frame",
        who: "framehop, rules cached",
        items: |_| FRAMES,
        prepare: |count| walk_framehop(count, true),
    },
    Case { what: "lookup in CFI", who: "kunwind", items: |_| LOOKUPS, prepare: lookup_table },
    Case { what: "lookup in CFI", who: "gimli", items: |_| LOOKUPS, prepare: lookup_gimli },
    Case { what: "walk by CFI, a frame", who: "kunwind", items: |_| FRAMES, prepare: |count| walk_cfi(count, false) },
    Case {
        what: "walk by CFI, a frame",
        who: "kunwind, rows cached",
        items: |_| FRAMES,
        prepare: |count| walk_cfi(count, true),
    },
    Case { what: "walk by CFI, a frame", who: "gimli", items: |_| FRAMES, prepare: walk_gimli },
    Case { what: "decode, a row", who: "kunwind", items: all_rows, prepare: decode_kunwind },
    Case { what: "decode, a row", who: "simple-frame-rs", items: all_rows, prepare: decode_simple_frame_rs },
    Case { what: "prepare, a section", who: "kunwind", items: |_| 1, prepare: prepare_kunwind },
];

const fn all_rows(functions: u64) -> u64 {
    functions * ROWS.len() as u64
}

/// The fastest sample of each case, by its place and the number of functions, in nanoseconds for each thing.
static FASTEST: Mutex<BTreeMap<(usize, u64), f64>> = Mutex::new(BTreeMap::new());

#[divan::bench(args = COUNTS, consts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], sample_count = 60, sample_size = 1)]
fn sframe_section<const CASE: usize>(bencher: Bencher<'_, '_>, functions: u64) {
    let case = &CASES[CASE];
    let (items, mut work) = ((case.items)(functions), (case.prepare)(functions));
    bencher.counter(ItemsCount::new(items)).bench_local(|| {
        let start = Instant::now();
        work();
        let each = start.elapsed().as_nanos() as f64 / items as f64;
        let mut fastest = FASTEST.lock().expect("no holder panics");
        fastest.entry((CASE, functions)).and_modify(|known| *known = known.min(each)).or_insert(each);
    });
}

fn lookup_kunwind(functions: u64) -> Box<dyn FnMut()> {
    let section = SFrameSection::parse(sframe(functions).leak(), SECTION).expect("our own section");
    Box::new(move || {
        for index in order(functions, LOOKUPS) {
            let found = section.lookup(black_box(TEXT + index * SIZE + AT));
            assert!(matches!(found, Ok(Some(Entry::Row(_)))));
        }
    })
}

fn lookup_simple_frame_rs(functions: u64) -> Box<dyn FnMut()> {
    let bytes: &[u8] = sframe(functions).leak();
    let section = simple_frame_rs::SFrameSection::from(bytes, SECTION).expect("it reads version 3");
    Box::new(move || {
        for index in order(functions, LOOKUPS) {
            let pc = black_box(TEXT + index * SIZE + AT);
            let function = section.find_fde(pc).expect("no error").expect("it is there");
            black_box(function.find_fre(&section, pc).expect("no error").expect("it is there"));
        }
    })
}

fn decode_kunwind(functions: u64) -> Box<dyn FnMut()> {
    let bytes = sframe(functions);
    Box::new(move || {
        let section = SFrameSection::parse(&bytes, SECTION).expect("our own section");
        let mut rows = 0;
        for function in section.functions() {
            for row in function.expect("it can be read").fres() {
                black_box(row.expect("it can be read").entry().expect("it has a meaning"));
                rows += 1;
            }
        }
        assert_eq!(rows, all_rows(functions));
    })
}

fn decode_simple_frame_rs(functions: u64) -> Box<dyn FnMut()> {
    use fallible_iterator::FallibleIterator as _;
    let bytes = sframe(functions);
    Box::new(move || {
        let section = simple_frame_rs::v3::SFrameSection::from(&bytes, SECTION).expect("it reads version 3");
        let mut rows = 0;
        let mut all = section.iter_fde();
        while let Some(function) = all.next().expect("no error") {
            let mut of_function = function.iter_fre(&section);
            while let Some(row) = of_function.next().expect("no error") {
                black_box(row);
                rows += 1;
            }
        }
        assert_eq!(rows, all_rows(functions));
    })
}

fn prepare_kunwind(functions: u64) -> Box<dyn FnMut()> {
    let bytes = sframe(functions);
    Box::new(move || {
        black_box(SFrameSection::parse(black_box(&bytes), SECTION).expect("our own section"));
    })
}

/// For `cargo xtask speed`, which counts instructions: `--case WHAT WHO FUNCTIONS CALLS` does the work so often, and says how many
/// things that were.
fn one_case(arguments: &[String]) -> Option<String> {
    let [what, who, functions, calls] = arguments else { return None };
    let (functions, calls) = (functions.parse().ok()?, calls.parse().ok()?);
    let case = CASES.iter().find(|case| case.what == what && case.who == who)?;
    let mut work = (case.prepare)(functions);
    (0..calls).for_each(|_: u64| work());
    Some(format!("{} items", calls * (case.items)(functions)))
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--case") {
        let line =
            one_case(&arguments[place + 1..]).expect("--case WHAT WHO FUNCTIONS CALLS, of those that the table names");
        println!("{line}");
        return;
    }
    divan::main();
    let fastest = FASTEST.lock().expect("no holder panics");
    if fastest.is_empty() {
        return; // listing or testing
    }
    println!("\n{:<21} {:>9}  {:<24} {:>9} {:>9}", "what", "functions", "by", "ns", "ours");
    for ((place, functions), each) in fastest.iter() {
        let Case { what, who, .. } = CASES[*place];
        let ours = CASES.iter().position(|case| (case.what, case.who) == (what, "kunwind"));
        let ours = ours.and_then(|ours| fastest.get(&(ours, *functions)));
        let ratio = ours.map(|ours| format!("{:.2}", each / ours)).unwrap_or_default();
        println!("{what:<21} {functions:>9}  {who:<24} {each:>9.1} {ratio:>9}");
    }
}

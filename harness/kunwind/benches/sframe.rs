//! What SFrame costs: looking up a pc, walking a stack, reading a whole section; beside simple-frame-rs on the same section and
//! framehop on the same rows as `.eh_frame`, in one run.
//!
//! `cargo bench -p kunwind --features alloc --bench sframe` prints divan's table, and then the fastest sample of each case with its
//! ratio to ours. Compare ratios, not nanoseconds. The pcs are spread over all functions in an order that no cache knows
//! beforehand. framehop keeps the rules of the pcs that it has seen, so it is also measured with a new cache for each walk; and kunwind
//! also with a cache of rows, as the harness has one.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder as _};
use kunwind::abi::X86_64;
use kunwind::sframe::write::{FunctionRows, Placement, write};
use kunwind::sframe::{SFrameAbi, SFrameSection, SFrameTable};
use kunwind::{
    CfaRule, CodeAddress, Entry, Error, Format, Frame, PlainRow, Regs, RowCache, Rule, Source, StackBounds, Table,
    TableUnwinder, Target, Task, Trampoline, UnwindRow, WalkState,
};

/// Where the functions are, and how large each is, in bytes.
const TEXT: u64 = 0x1000_0000;
const SIZE: u64 = 64;
/// Where the section is.
const SECTION: u64 = 0x4000_0000;
/// Where the stack is, how many frames lie on it, and how large each is, in bytes.
const STACK: u64 = 0x7000_0000;
const DEPTH: u64 = 64;
const FRAME: u64 = 32;
/// Offsets of the rows in each function: at the entry, after `push %rbp`, after `mov %rsp, %rbp`, at the `ret`.
const ROWS: [u64; 4] = [0, 1, 4, 63];
/// Where each frame stands in its function.
const AT: u64 = 40;

const COUNTS: [u64; 3] = [1, 1_000, 100_000];

/// What is measured: looking up a pc, walking a frame, reading a row; by whom; and what does it, with this many functions.
struct Case {
    what: &'static str,
    who: &'static str,
    /// How many things one call of the work does.
    items: fn(u64) -> u64,
    prepare: fn(u64) -> Box<dyn FnMut()>,
}

const CASES: [Case; 9] = [
    Case { what: "lookup", who: "kunwind", items: |_| LOOKUPS, prepare: lookup_kunwind },
    Case { what: "lookup", who: "simple-frame-rs", items: |_| LOOKUPS, prepare: lookup_simple_frame_rs },
    Case { what: "walk, a frame", who: "kunwind", items: |_| FRAMES, prepare: |count| walk_kunwind(count, false) },
    Case {
        what: "walk, a frame",
        who: "kunwind, rows cached",
        items: |_| FRAMES,
        prepare: |count| walk_kunwind(count, true),
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
    Case { what: "decode, a row", who: "kunwind", items: all_rows, prepare: decode_kunwind },
    Case { what: "decode, a row", who: "simple-frame-rs", items: all_rows, prepare: decode_simple_frame_rs },
    Case { what: "prepare, a section", who: "kunwind", items: |_| 1, prepare: prepare_kunwind },
];

const LOOKUPS: u64 = 20_000;
const WALKS: u64 = 200;
const FRAMES: u64 = WALKS * DEPTH;

const fn all_rows(functions: u64) -> u64 {
    functions * ROWS.len() as u64
}

/// The fastest sample of each case, by its place and the number of functions, in nanoseconds for each thing.
static FASTEST: Mutex<BTreeMap<(usize, u64), f64>> = Mutex::new(BTreeMap::new());

#[divan::bench(args = COUNTS, consts = [0, 1, 2, 3, 4, 5, 6, 7, 8], sample_count = 60, sample_size = 1)]
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

fn rows() -> Vec<(u64, Entry)> {
    let row =
        |cfa, fp| Entry::Row(UnwindRow { cfa, ra: Rule::CfaOffsetDeref(-8), fp, mangled_ra: false, signal: false });
    let saved = Rule::CfaOffsetDeref(-16);
    let [entry, pushed, linked, last] = ROWS;
    vec![
        (entry, row(CfaRule::RegOffset(X86_64.sp, 8), Rule::Retain)),
        (pushed, row(CfaRule::RegOffset(X86_64.sp, 16), saved)),
        (linked, row(CfaRule::RegOffset(X86_64.fp, 16), saved)),
        (last, row(CfaRule::RegOffset(X86_64.sp, 8), Rule::Retain)),
    ]
}

fn sframe(functions: u64) -> Vec<u8> {
    let functions: Vec<FunctionRows> = (0..functions)
        .map(|index| FunctionRows { start: TEXT + index * SIZE, size: SIZE, signal: false, b_key: false, rows: rows() })
        .collect();
    write(SFrameAbi::Amd64, Placement::Linked(SECTION), &functions).expect("it fits").bytes
}

/// The same rows as `.eh_frame` (DWARF 5 section 6.4; Linux Standard Base Core, 10.6), at the same address.
fn eh_frame(functions: u64) -> Vec<u8> {
    let entry = |id: u32, body: &[u8]| {
        let mut bytes = Vec::new();
        let padding = (8 - (4 + body.len()) % 8) % 8;
        bytes.extend((4 + body.len() as u32 + padding as u32).to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.extend(body);
        bytes.extend(std::iter::repeat_n(0_u8, padding)); // DW_CFA_nop
        bytes
    };
    // Version 1, "zR", code factor 1, data factor -8, return address 16, pointers are pcrel sdata4; CFA=rsp+8, RA at cfa-8.
    let mut bytes = entry(0, &[1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1]);
    for index in 0..functions {
        let here = SECTION + bytes.len() as u64;
        let pc = (TEXT + index * SIZE).wrapping_sub(here + 8) as u32;
        let mut body = Vec::new();
        body.extend(pc.to_le_bytes());
        body.extend((SIZE as u32).to_le_bytes());
        // No augmentation; advance 1, CFA offset 16, rbp at cfa-16; advance 3, CFA register rbp; advance 59, CFA=rsp+8, rbp restored.
        body.extend([0, 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x40 | 59, 0x0c, 7, 8, 0xc6]);
        bytes.extend(entry(bytes.len() as u32 + 4, &body));
    }
    bytes.extend([0; 4]);
    bytes
}

/// Functions in an order that jumps about.
fn order(functions: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |step| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % functions)
}

/// A stack of frames, each of another function, and the registers of the youngest.
struct Stack {
    words: Vec<u64>,
    pc: u64,
    sframe: SFrameTable<Vec<u8>>,
    /// The rows that were asked for last, where a walk may keep them.
    rows: Option<RowCache>,
}

impl Table for Stack {
    #[inline]
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        let rows = self.rows.as_ref();
        rows.map_or_else(|| self.sframe.entry(pc), |rows| rows.entry(NonZeroU64::MIN, pc, &self.sframe))
    }

    #[inline]
    fn plain(&self, pc: u64) -> Option<PlainRow> {
        self.rows.as_ref()?.plain(NonZeroU64::MIN, pc, &self.sframe)
    }
}

impl Stack {
    fn new(functions: u64, keeps_rows: bool) -> Self {
        let mut words = vec![0; (DEPTH * FRAME / 8) as usize];
        let pcs: Vec<u64> = order(functions, DEPTH + 1).map(|index| TEXT + index * SIZE + AT).collect();
        for frame in 0..DEPTH - 1 {
            let record = (frame * FRAME / 8) as usize;
            words[record] = STACK + (frame + 1) * FRAME;
            words[record + 1] = pcs[frame as usize + 1];
        }
        let sframe = SFrameTable::parse(sframe(functions), SECTION).expect("our own section");
        let rows = keeps_rows.then(RowCache::new);
        Self { words, pc: pcs[0], sframe, rows }
    }

    fn read(&self, at: u64) -> Option<u64> {
        self.words.get(usize::try_from(at.checked_sub(STACK)? / 8).ok()?).copied()
    }
}

const BOUNDS: [StackBounds; 1] = [StackBounds { low: STACK, high: STACK + DEPTH * FRAME }];

impl Target for Stack {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.read(address)
    }

    fn stacks(&self) -> &[StackBounds] {
        &BOUNDS
    }

    fn entered_from(&self, _: &StackBounds) -> Option<u64> {
        None
    }

    fn is_text(&self, _: u64) -> bool {
        true
    }

    fn is_exception_entry(&self, _: u64) -> bool {
        false
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        Some(self)
    }

    fn trampoline(&self, _: u64) -> Option<Trampoline> {
        None
    }
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

fn walk_kunwind(functions: u64, keeps_rows: bool) -> Box<dyn FnMut()> {
    let stack = Stack::new(functions, keeps_rows);
    let unwinder = TableUnwinder::new(&X86_64, Format::SFrame);
    Box::new(move || {
        for _ in 0..WALKS {
            let mut regs = Regs::none();
            regs.set(X86_64.sp, STACK);
            regs.set(X86_64.fp, STACK);
            let start = Frame { pc: CodeAddress::Interrupted(stack.pc), regs, source: Source::Start };
            let mut frames = 0;
            let mut state = WalkState::new(&BOUNDS);
            kunwind::walk_each(&unwinder, start, &stack, &mut state, |frame, _| {
                black_box(frame);
                frames += 1;
                std::ops::ControlFlow::Continue(())
            });
            // The oldest return address is 0, which is in no function.
            assert_eq!(frames, DEPTH + 1);
        }
    })
}

fn walk_framehop(functions: u64, keeps_cache: bool) -> Box<dyn FnMut()> {
    let stack = Stack::new(functions, false);
    let bytes = eh_frame(functions);
    let mut unwinder = UnwinderX86_64::new();
    let text = TEXT..TEXT + functions * SIZE;
    let sections = ExplicitModuleSectionInfo {
        base_svma: TEXT,
        text_svma: Some(text.clone()),
        eh_frame_svma: Some(SECTION..SECTION + bytes.len() as u64),
        eh_frame: Some(bytes),
        ..Default::default()
    };
    unwinder.add_module(Module::new("module".to_owned(), text, TEXT, sections));
    let mut cache = CacheX86_64::new();
    Box::new(move || {
        let mut read = |at| stack.read(at).ok_or(());
        for _ in 0..WALKS {
            if !keeps_cache {
                cache = CacheX86_64::new();
            }
            let regs = UnwindRegsX86_64::new(stack.pc, STACK, STACK);
            let mut frames = unwinder.iter_frames(stack.pc, regs, &mut cache, &mut read);
            let mut count = 0;
            while let Ok(Some(frame)) = frames.next() {
                black_box(frame);
                count += 1;
            }
            assert_eq!(count, DEPTH);
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
    println!("\n{:<18} {:>9}  {:<24} {:>9} {:>9}", "what", "functions", "by", "ns", "ours");
    for ((place, functions), each) in fastest.iter() {
        let Case { what, who, .. } = CASES[*place];
        let ours = CASES.iter().position(|case| (case.what, case.who) == (what, "kunwind"));
        let ours = ours.and_then(|ours| fastest.get(&(ours, *functions)));
        let ratio = ours.map(|ours| format!("{:.2}", each / ours)).unwrap_or_default();
        println!("{what:<18} {functions:>9}  {who:<24} {each:>9.1} {ratio:>9}");
    }
}

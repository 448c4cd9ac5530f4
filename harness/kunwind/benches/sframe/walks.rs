//! The walks: by SFrame and by CFI, and framehop's by CFI, along the same stack.

use std::hint::black_box;
use std::num::NonZeroU64;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder as _};
use kunwind::abi::X86_64;
use kunwind::sframe::SFrameTable;
use kunwind::{
    CodeAddress, Entry, Error, Format, Frame, PlainRow, Register, Regs, RowCache, Rule, SavedWord, Source, StackBounds,
    Table, TableUnwinder, Target, WalkState,
};

use super::no_kernel::no_kernel;

use super::cfi::cfi_table;
use super::data::{AT, DEPTH, FRAME, SECTION, SIZE, STACK, TEXT, WALKS, eh_frame, order, sframe};

/// A table, and the rows for which it was asked last.
struct Kept<T> {
    table: T,
    rows: RowCache,
}

impl<T> Kept<T> {
    fn new(table: T) -> Self {
        Self { table, rows: RowCache::new() }
    }
}

impl<T: Table> Table for Kept<T> {
    #[inline]
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.rows.entry(NonZeroU64::MIN, pc, &self.table)
    }

    #[inline]
    fn plain(&self, pc: u64) -> Option<PlainRow> {
        self.rows.plain(NonZeroU64::MIN, pc, &self.table)
    }

    #[inline]
    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        self.table.saved(pc)
    }

    #[inline]
    fn saved_words(&self, list: u16) -> &[SavedWord] {
        self.table.saved_words(list)
    }
}

/// A stack of frames, each of another function, the pc of the youngest, and a table.
pub(super) struct Stack<T> {
    words: Vec<u64>,
    pub(super) pc: u64,
    table: T,
}

impl<T> Stack<T> {
    pub(super) fn new(functions: u64, table: T) -> Self {
        let mut words = vec![0; (DEPTH * FRAME / 8) as usize];
        let pcs: Vec<u64> = order(functions, DEPTH + 1).map(|index| TEXT + index * SIZE + AT).collect();
        for frame in 0..DEPTH - 1 {
            let record = (frame * FRAME / 8) as usize;
            words[record] = STACK + (frame + 1) * FRAME;
            words[record + 1] = pcs[frame as usize + 1];
        }
        Self { words, pc: pcs[0], table }
    }

    #[inline]
    pub(super) fn read(&self, at: u64) -> Option<u64> {
        self.words.get(usize::try_from(at.checked_sub(STACK)? / 8).ok()?).copied()
    }
}

const BOUNDS: [StackBounds; 1] = [StackBounds { low: STACK, high: STACK + DEPTH * FRAME }];

impl<T: Table> Target for Stack<T> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.read(address)
    }

    fn stacks(&self) -> &[StackBounds] {
        &BOUNDS
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        Some(&self.table)
    }

    no_kernel!();
}

/// Walks a stack by the rows of a table, from its youngest frame to its oldest.
fn walk_by_rows<T: Table + 'static>(stack: Stack<T>, format: Format) -> Box<dyn FnMut()> {
    let unwinder = TableUnwinder::new(&X86_64, format);
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

fn walk_table<T: Table + 'static>(functions: u64, table: T, keeps_rows: bool, format: Format) -> Box<dyn FnMut()> {
    if keeps_rows {
        walk_by_rows(Stack::new(functions, Kept::new(table)), format)
    } else {
        walk_by_rows(Stack::new(functions, table), format)
    }
}

pub(super) fn walk_sframe(functions: u64, keeps_rows: bool) -> Box<dyn FnMut()> {
    let table = SFrameTable::parse(sframe(functions), SECTION).expect("our own section");
    walk_table(functions, table, keeps_rows, Format::SFrame)
}

pub(super) fn walk_cfi(functions: u64, keeps_rows: bool) -> Box<dyn FnMut()> {
    walk_table(functions, cfi_table(functions), keeps_rows, Format::Dwarf)
}

pub(super) fn walk_framehop(functions: u64, keeps_cache: bool) -> Box<dyn FnMut()> {
    let stack = Stack::new(functions, ());
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

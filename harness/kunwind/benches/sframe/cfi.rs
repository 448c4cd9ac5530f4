//! CFI: the table of all its rows, and gimli alone, which runs a function's program for each pc.

use std::hint::black_box;

use gimli::{BaseAddresses, CfaRule, EhFrame, LittleEndian, RegisterRule, UnwindContext, UnwindSection as _};
use kunwind::dwarf::CfiTable;
use kunwind::{Entry, Table as _};

use super::data::{AT, DEPTH, LOOKUPS, SECTION, SIZE, STACK, TEXT, WALKS, cfi, eh_frame, order};
use super::walks::Stack;

pub(super) fn cfi_table(functions: u64) -> CfiTable {
    CfiTable::new(&[cfi(&eh_frame(functions))], &mut |trouble| panic!("our own section: {trouble:?}"))
}

pub(super) fn lookup_table(functions: u64) -> Box<dyn FnMut()> {
    let table = cfi_table(functions);
    Box::new(move || {
        for index in order(functions, LOOKUPS) {
            let found = table.entry(black_box(TEXT + index * SIZE + AT));
            assert!(matches!(found, Ok(Some(Entry::Row(_)))));
        }
    })
}

type Slice = gimli::EndianSlice<'static, LittleEndian>;

/// gimli with what a debugger prepares: the functions by address (`.eh_frame_hdr`), and room for the rows.
struct Gimli {
    section: EhFrame<Slice>,
    bases: BaseAddresses,
    /// Where each function begins, and where its entry is.
    index: Vec<(u64, usize)>,
    context: Box<UnwindContext<usize>>,
}

impl Gimli {
    fn new(functions: u64) -> Self {
        let bytes: &'static [u8] = eh_frame(functions).leak();
        let index = cfi(bytes).functions().map(|function| function.expect("our own section"));
        let mut index: Vec<(u64, usize)> = index.map(|function| (function.start, function.fde)).collect();
        index.sort_unstable();
        let bases = BaseAddresses::default().set_eh_frame(SECTION);
        Self { section: EhFrame::new(bytes, LittleEndian), bases, index, context: Box::default() }
    }

    /// Where the CFA, the return address and the caller's frame pointer are: a register and an offset, and two from the CFA.
    fn row(&mut self, pc: u64) -> Option<((u16, i64), i64, i64)> {
        let last = self.index.partition_point(|(start, _)| *start <= pc).checked_sub(1)?;
        let entry = self.index[last].1.into();
        let function = self.section.fde_from_offset(&self.bases, entry, EhFrame::cie_from_offset).ok()?;
        let row = function.unwind_info_for_address(&self.section, &self.bases, &mut self.context, pc).ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
        let saved = |register| match row.register(register) {
            Some(RegisterRule::Offset(offset)) => Some(offset),
            _ => None,
        };
        Some(((register.0, *offset), saved(gimli::X86_64::RA)?, saved(gimli::X86_64::RBP)?))
    }
}

pub(super) fn lookup_gimli(functions: u64) -> Box<dyn FnMut()> {
    let mut gimli = Gimli::new(functions);
    Box::new(move || {
        for index in order(functions, LOOKUPS) {
            black_box(gimli.row(black_box(TEXT + index * SIZE + AT)).expect("it is there"));
        }
    })
}

/// The plainest walk by gimli: it checks nothing, and knows the rules of these rows alone.
pub(super) fn walk_gimli(functions: u64) -> Box<dyn FnMut()> {
    let stack = Stack::new(functions, ());
    let mut gimli = Gimli::new(functions);
    Box::new(move || {
        for _ in 0..WALKS {
            let (mut lookup, mut sp, mut fp) = (stack.pc, STACK, STACK);
            let mut frames = 1;
            while let Some(((register, offset), ra, saved_fp)) = gimli.row(lookup) {
                let base = if register == gimli::X86_64::RSP.0 { sp } else { fp };
                sp = base.wrapping_add_signed(offset);
                let word = |offset| stack.read(sp.wrapping_add_signed(offset)).expect("on the stack");
                fp = word(saved_fp);
                lookup = word(ra).wrapping_sub(1);
                black_box((lookup, sp, fp));
                frames += 1;
            }
            assert_eq!(frames, DEPTH + 1);
        }
    })
}

//! Reads arbitrary bytes as a section with CFI: every function, every row, and every expression in a row's rules.
#![no_main]

use kunwind::dwarf::{Cfi, CfiSection, Columns, Storage, evaluate, make_readable};
use kunwind::sframe::SFrameAbi;
use kunwind::{CfaRule, Entry, Error, Expression, Register, Regs, Rule, Slot};
use libfuzzer_sys::fuzz_target;

const ADDRESS: u64 = 0x2000;

/// Memory in which every word holds its own address, but for some that cannot be read.
fn read(slot: Slot) -> Result<u64, Error> {
    let at = slot.address();
    if at % 7 == 0 { Err(Error::Unreadable(at)) } else { Ok(at) }
}

fn run(bytes: &[u8], expression: Expression, cfa: Option<u64>) {
    let start = expression.offset as usize;
    let end = start.saturating_add(expression.length as usize);
    let Some(bytes) = bytes.get(start..end) else { return };
    let mut regs = Regs::none();
    (0..20).for_each(|number| regs.set(Register(number), u64::from(number) << 60 | 0x1000));
    let _ = evaluate(bytes, false, cfa, &regs, &mut read);
}

fn rule(bytes: &[u8], rule: Rule) {
    if let Rule::Expression(expression) | Rule::ValExpression(expression) = rule {
        run(bytes, expression, Some(0x3000));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let section = if first & 1 == 0 { CfiSection::EhFrame } else { CfiSection::DebugFrame };
    let abi = [SFrameAbi::Amd64, SFrameAbi::Aarch64Le][usize::from(first >> 1 & 1)];
    let mut readable = bytes.to_vec();
    make_readable(section, &mut readable, false);
    let cfi = Cfi { section, bytes, readable: &readable, address: ADDRESS, columns: Columns::from(abi) };
    let mut storage = Storage::new();
    // Time is for many sections, and not for a long one.
    for function in cfi.functions().take(16).flatten() {
        let mut rows = 0;
        let mut end = 0;
        let _ = cfi.each_full_row(&function, &mut storage, &mut |covered, row| {
            rows += 1;
            if rows > 64 {
                return;
            }
            assert!(covered.start >= end && covered.start <= covered.end, "rows grow and do not overlap");
            end = covered.end;
            let _ = row.entry();
            row.each_saved(&mut |_, found| {
                let _ = found.map(|found| rule(&readable, found));
            });
            if let Ok(Entry::Row(row)) = row.full_entry() {
                rule(&readable, row.ra);
                rule(&readable, row.fp);
                if let CfaRule::Expression(expression) = row.cfa {
                    run(&readable, expression, None);
                }
            }
        });
    }
});

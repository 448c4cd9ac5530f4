//! CFI as a table says what its programs say; its plain rows say what its entries and rules say; and so does what is kept of them.

use std::num::NonZeroU64;

use kunwind::dwarf::{Cfi, CfiTable, CfiTrouble, Storage};
use kunwind::{Entry, Error, PlainRow, Register, RowCache, Rule, SavedWord, SavedWords, Table};

use super::elf::{Elf, fixture};
use super::linked::FILES;

/// What holds from a pc on, without expressions, which the table keeps elsewhere.
type Said = (u64, Result<Entry, ()>, Vec<(Register, Rule)>);

/// The rows of all functions that are not empty, as gimli's table gives them.
fn said(cfi: &Cfi<'_>) -> Vec<(u64, u64, Vec<Said>)> {
    let mut storage = Storage::new();
    let functions = cfi.functions().map(|function| function.expect("it can be read"));
    let mut said = Vec::new();
    for function in functions.filter(|function| function.size > 0) {
        let mut rows = Vec::new();
        let run = cfi.each_full_row(&function, &mut storage, &mut |covered, row| {
            let mut saved = Vec::new();
            row.each_saved(&mut |register, rule| saved.push((register, rule.unwrap_or(Rule::Undefined))));
            rows.push((function.start + covered.start, row.full_entry().map_err(|_| ()), saved));
        });
        run.expect("all programs of the fixtures can be run");
        said.push((function.start, function.start + function.size, rows));
    }
    said
}

fn has_expression(entry: &Entry, saved: &[(Register, Rule)]) -> bool {
    let of_entry = match entry {
        Entry::Row(row) => row.cfa.register().is_none() || row.ra.is_expression() || row.fp.is_expression(),
        _ => false,
    };
    of_entry || saved.iter().any(|(_, rule)| rule.is_expression())
}

/// A plain row with its registers, from what the table says otherwise.
fn plainly(table: &impl Table, pc: u64, sp: Register) -> Option<(PlainRow, Vec<SavedWord>)> {
    let Ok(Some(Entry::Row(row))) = table.entry(pc) else { return None };
    let rules = table.saved(pc).expect("CFI knows all registers");
    let words: Option<Vec<SavedWord>> = rules.iter().map(|(register, rule)| SavedWord::of(*register, *rule)).collect();
    let words = words.filter(|words| words.iter().all(|word| word.register != sp))?;
    // Which list it is, only the table knows.
    let list = (0..32).find(|list| table.saved_words(*list) == words).expect("a list of the table");
    Some((PlainRow::of(&row, SavedWords::List(list))?, words))
}

#[test]
fn a_table_says_what_cfi_says_and_its_plain_rows_are_these() {
    let rows = RowCache::new();
    let (mut pcs, mut plain_rows, mut with_words) = (0, 0, 0);
    let objects = [
        "s04_regs.v3.o",
        "x04_pushpop.v3.o",
        "x06_multi.v3.o",
        "x16_drap.v3.o",
        "x20_flex_bigreg.v3.o",
        "x23_misc.v3.o",
    ];
    let names = FILES.iter().copied().chain(objects);
    for (number, name) in (1..).filter_map(NonZeroU64::new).zip(names) {
        let bytes = fixture(name);
        let owned = Elf::new(&bytes).cfi();
        let cfi = owned.cfi();
        let table = CfiTable::new(&[cfi], &mut |trouble: CfiTrouble| panic!("{name}: {trouble:?}"));
        for (start, end, said) in said(&cfi) {
            for pc in start..end {
                pcs += 1;
                let row = said.iter().rev().find(|(from, ..)| *from <= pc);
                let Some((_, entry, saved)) = row else {
                    assert_eq!(table.entry(pc), Ok(Some(Entry::NoRow { signal: false })), "{name} {pc:#x}");
                    continue;
                };
                if entry.is_ok_and(|entry| !has_expression(&entry, saved)) {
                    let entry = entry.map(Some).map_err(|()| Error::Unrepresentable(pc));
                    assert_eq!((table.entry(pc), table.saved(pc)), (entry, Some(&**saved)), "{name} {pc:#x}");
                }
                let plain = plainly(&table, pc, cfi.columns.sp);
                for _ in 0..2 {
                    let kept = (table.plain(pc), rows.plain(number, pc, &table));
                    let row = plain.as_ref().map(|(row, _)| *row);
                    assert_eq!(kept, (row, row), "{name} {pc:#x}");
                    assert_eq!(rows.entry(number, pc, &table), table.entry(pc), "{name} {pc:#x}");
                }
                plain_rows += usize::from(plain.is_some());
                with_words += usize::from(plain.is_some_and(|(_, words)| !words.is_empty()));
            }
            let outside = [start.wrapping_sub(1), end];
            let covered = |pc: &u64| table.functions().iter().any(|it| pc.wrapping_sub(it.start) < it.size);
            for pc in outside.into_iter().filter(|pc| !covered(pc)) {
                assert_eq!((table.entry(pc), table.plain(pc), rows.plain(number, pc, &table)), (Ok(None), None, None));
            }
        }
    }
    // Otherwise little was compared.
    assert!(plain_rows > pcs / 3 && with_words > 50, "{plain_rows} of {pcs}, {with_words}");
}

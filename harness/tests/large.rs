//! A guest of the size of a kernel: it is loaded and run without being disassembled.

use std::path::Path;

use unwind_harness::cpu;
use unwind_harness::experiment::{EVERYWHERE, Experiment, columns};
use unwind_harness::guest::{Guest, Program};
use unwind_harness::machine::Machine;
use unwind_harness::oracle::Witnesses;
use unwind_harness::recording::Recorder;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{KunwindSubject, Subject};

const BASE: u64 = 0xffff_8000_8000_0000;
const TEXT: u64 = 80 << 20;
const FUNCTION: u64 = 512;
const DATA: u64 = 0x10_0000;

/// The symbol table, and its names.
fn symbols(sentinel: u64) -> (Vec<u8>, Vec<u8>) {
    let data_base = BASE + TEXT;
    let mut names = vec![0_u8];
    let mut symbols = vec![0_u8; 24];
    let mut symbol = |name: &str, value: u64, size: u64, kind: u8| {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x10 | kind, 0]); // STB_GLOBAL
        symbols.extend(1_u16.to_le_bytes());
        symbols.extend(value.to_le_bytes());
        symbols.extend(size.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    };
    symbol("_start", BASE, FUNCTION, 2);
    for number in 1..TEXT / FUNCTION - 1 {
        symbol(&format!("function_{number}"), BASE + number * FUNCTION, FUNCTION, 2);
    }
    symbol("__sentinel", BASE + sentinel, 0, 0);
    symbol("__stack_task_low", data_base, 0, 1);
    symbol("__stack_task_high", data_base + 8, 0, 1);
    symbol("__stack_arena_low", data_base + 0x1_0000, 0, 1);
    symbol("__stack_arena_high", data_base + DATA, 0, 1);
    (symbols, names)
}

/// The bytes of an ELF file for arm64 with a text segment of [`TEXT`] bytes in functions of [`FUNCTION`] bytes each, and the data
/// that a guest declares its stack with. `_start` jumps to the last function, and that to the end of the run.
fn elf() -> Vec<u8> {
    let data_base = BASE + TEXT;
    let functions = TEXT / FUNCTION;
    let mut text: Vec<u8> = 0xd503_201f_u32.to_le_bytes().repeat((TEXT / 4) as usize); // nop
    let mut branch = |from: u64, to: u64| {
        let word = 0x1400_0000_u32 | (((to as i64 - from as i64) / 4) as u32 & 0x03ff_ffff);
        text[from as usize..from as usize + 4].copy_from_slice(&word.to_le_bytes());
    };
    let (last, sentinel) = ((functions - 2) * FUNCTION, (functions - 1) * FUNCTION + 64);
    branch(4, last);
    branch(last + 8, sentinel);
    let mut data = vec![0_u8; DATA as usize];
    data[8..16].copy_from_slice(&0x4000_u64.to_le_bytes()); // the stack's size, in its high word

    let (symbols, names) = symbols(sentinel);

    let mut file = vec![0_u8; 0x1000];
    let text_at = file.len() as u64;
    file.extend(&text);
    let data_at = file.len() as u64;
    file.extend(&data);
    let symbols_at = file.len() as u64;
    file.extend(&symbols);
    let names_at = file.len() as u64;
    file.extend(&names);
    let sections_at = file.len() as u64;
    let mut section = |kind: u32, offset: u64, size: u64, link: u32, entry: u64| {
        let mut header = Vec::new();
        header.extend([0_u32, kind].iter().flat_map(|word| word.to_le_bytes()));
        header.extend([0, 0, offset, size].iter().flat_map(|word: &u64| word.to_le_bytes()));
        header.extend([link, 0].iter().flat_map(|word| word.to_le_bytes()));
        header.extend([1, entry].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(header);
    };
    section(0, 0, 0, 0, 0);
    section(2, symbols_at, symbols.len() as u64, 2, 24); // SHT_SYMTAB
    section(3, names_at, names.len() as u64, 0, 0); // SHT_STRTAB
    let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    head.extend([2_u16, 183].iter().flat_map(|word| word.to_le_bytes())); // ET_EXEC, EM_AARCH64
    head.extend(1_u32.to_le_bytes());
    head.extend([BASE, 64, sections_at].iter().flat_map(|word| word.to_le_bytes()));
    head.extend(0_u32.to_le_bytes());
    head.extend([64_u16, 56, 2, 64, 3, 2].iter().flat_map(|word| word.to_le_bytes()));
    for (flags, offset, address, size) in [(5_u32, text_at, BASE, TEXT), (6, data_at, data_base, DATA)] {
        head.extend([1, flags].iter().flat_map(|word| word.to_le_bytes()));
        head.extend([offset, address, address, size, size, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
    }
    file[..head.len()].copy_from_slice(&head);
    file
}

#[test]
fn a_large_image_is_not_disassembled_before_somebody_looks() {
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let guest = Guest::parse("large".to_owned(), Path::new("large.elf"), &elf(), cpu).expect("a sound file");
    let functions = guest.symbols.functions().len();
    assert!(functions > 150_000, "{functions}");
    let program = Program::mimic(guest, &[], 0).expect("a sound guest");
    let before = program.listing.disassembled();
    assert!(before < functions / 100, "{before} of {functions} functions for the poison alone");

    let text = Scenario::parse(Path::new("arm64/large.toml"), "guest = \"large\"").expect("a sound scenario").text;
    let subject = KunwindSubject::frame_record(cpu);
    let subjects: [&dyn Subject; 1] = [&subject];
    let columns = columns(&subjects, Interruption::Probe);
    let kind = Interruption::Probe;
    let experiment = Experiment {
        program: &program,
        text: &text,
        kind,
        columns: &columns,
        max_visits: 4,
        wanted: &[],
        addresses: EVERYWHERE,
    };
    let mut machine = Machine::new(&program, "_start", 1000).expect("a machine");
    let mut recorder = Recorder::new(&program, &columns, &[]);
    let found = experiment.drive(&mut machine, &[], Witnesses::default(), &mut recorder).expect("it runs to its end");
    assert_eq!(found.testimony.contradiction, None);
    let points: u64 = found.sites.iter().map(|site| site.visits).sum();
    assert_eq!(points, 5, "two instructions of _start, three of the last function");
    assert_eq!(program.listing.disassembled(), before, "a run needs no listing");
}

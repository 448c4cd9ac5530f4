//! What a guest must not do, and what is not a guest: each gives an error that says where and what; nothing hangs or panics.

use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::cpu::{self, ALL, Cpu};
use unwind_harness::guest::Guest;
use unwind_harness::guest::Program;
use unwind_harness::machine::Machine;
use unwind_harness::trace::{Action, Ended, Observer, Point, Run as _};

fn path(cpu: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(cpu).join("leaf.elf")
}

fn cpu(name: &str) -> &'static Cpu {
    cpu::by_name(name).expect("a CPU")
}

/// Sees nothing, or breaks at an address.
struct BreakAt(Option<u64>);

impl Observer for BreakAt {
    fn point(&mut self, at: &Point<'_>) -> Action {
        if self.0 == Some(at.pc) { Action::Stop } else { Action::Continue }
    }
}

/// Runs `leaf` with other code in the place of the function `leaf`.
fn run_patched(name: &str, code: &[u8]) -> String {
    let mut guest = Guest::load(&path(name), cpu(name)).expect("the guest loads");
    let address = guest.function("leaf").expect("a function").address;
    let segment = guest.segments.iter_mut().find(|segment| segment.executable).expect("code");
    let offset = (address - segment.address) as usize;
    segment.data[offset..offset + code.len()].copy_from_slice(code);
    let program = Program::mimic(guest, &[], 0).expect("the guest is sound otherwise");
    let outcome = Machine::new(&program, "_start", 10_000).expect("a machine").drive(&mut BreakAt(None));
    outcome.expect_err("the guest must not get away with it").to_string()
}

#[rstest]
// arm64
#[case("arm64", &[0x1f, 0x00, 0x00, 0x00], "(undefined instruction) at leaf+0x0")] // udf #31
#[case("arm64", &[0x00, 0x00, 0x00, 0x14], "no end within the budget of 10000 instructions at leaf+0x0")] // b .
#[case("arm64", &[0x20, 0x03, 0x40, 0xf9], "read in unmapped page 0x")] // ldr x0, [x25]
#[case("arm64", &[0x20, 0x03, 0x00, 0xf9], "write in unmapped page 0x")] // str x0, [x25]
#[case("arm64", &[0xc0, 0x03, 0x00, 0xf9], " of code at leaf+0x")] // str x0, [x30]
#[case("arm64", &[0x20, 0x03, 0x1f, 0xd6], "execution in unmapped page 0x")] // br x25
#[case("arm64", &[0xe0, 0x03, 0x1f, 0xd6], "execution in unmapped page 0x0 at")] // br xzr
#[case("arm64", &[0x01, 0x00, 0x00, 0xd4], "unhandled exception 2 (svc) at leaf+0x0")] // svc #0
#[case("arm64", &[0x7f, 0x20, 0x03, 0xd5], "it waits forever for an interrupt at leaf+0x0")] // wfi
// riscv64
#[case("riscv64", &[0x73, 0x00, 0x50, 0x10], "it waits forever for an interrupt at leaf+0x0")] // wfi
#[case("riscv64", &[0x00, 0x00], "(illegal instruction) at leaf+0x0")] // c.unimp
#[case("riscv64", &[0x01, 0xa0], "no end within the budget of 10000 instructions at leaf+0x0")] // c.j .
#[case("riscv64", &[0x03, 0xb5, 0x0c, 0x00], "read in unmapped page 0x")] // ld a0, 0(s9)
#[case("riscv64", &[0x23, 0xb0, 0xac, 0x00], "write in unmapped page 0x")] // sd a0, 0(s9)
#[case("riscv64", &[0x23, 0xb0, 0xa0, 0x00], " of code at leaf+0x")] // sd a0, 0(ra)
#[case("riscv64", &[0x67, 0x80, 0x0c, 0x00], "execution in unmapped page 0x")] // jr s9
#[case("riscv64", &[0x73, 0x00, 0x00, 0x00], "(ecall) at leaf+0x0")] // ecall
// x86-64
#[case("x86_64", &[0xf4], "it waits forever for an interrupt at leaf+0x0")] // hlt
#[case("x86_64", &[0x0f, 0x0b], "undefined instruction at leaf+0x0")] // ud2
#[case("x86_64", &[0xeb, 0xfe], "no end within the budget of 10000 instructions at leaf+0x0")] // jmp .
#[case("x86_64", &[0x49, 0x8b, 0x04, 0x24], "read in unmapped page 0x")] // mov (%r12), %rax
#[case("x86_64", &[0x49, 0x89, 0x04, 0x24], "write in unmapped page 0x")] // mov %rax, (%r12)
#[case("x86_64", &[0x48, 0x8b, 0x04, 0x24, 0x48, 0x89, 0x00], " of code at leaf+0x")] // mov (%rsp), %rax; mov %rax, (%rax)
#[case("x86_64", &[0x41, 0xff, 0xe4], "execution in unmapped page 0x")] // jmp *%r12
#[case("x86_64", &[0xcc], "unhandled exception 3 (#BP) at leaf+0x0")] // int3
#[case("x86_64", &[0x0f, 0x05], "(syscall) at leaf+0x0")] // syscall
fn a_guest_that_goes_wrong_is_stopped(#[case] cpu: &str, #[case] code: &[u8], #[case] reason: &str) {
    let error = run_patched(cpu, code);
    assert!(error.starts_with("guest leaf: "), "{error}");
    assert!(error.contains(reason), "{error}");
    assert!(error.contains(" at leaf+0x"), "{error}");
}

#[test]
fn an_observer_can_stop_a_run() {
    for cpu in ALL {
        let guest = Guest::load(&path(cpu.name), cpu).expect("the guest loads");
        let address = guest.function("leaf").expect("a function").address;
        let program = Program::mimic(guest, &[], 0).expect("a sound guest");
        let ended = Machine::new(&program, "_start", 10_000).expect("a machine").drive(&mut BreakAt(Some(address)));
        assert!(matches!(ended, Ok(Ended { complete: false, .. })), "{}: {ended:?}", cpu.name);
        let ended = Machine::new(&program, "_start", 10_000).expect("a machine").drive(&mut BreakAt(None));
        assert!(matches!(ended, Ok(Ended { complete: true, .. })), "{}: {ended:?}", cpu.name);
    }
}

/// The guest's file with a symbol's name changed to one of the same length.
fn rename(data: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = data.windows(from.len()).position(|window| window == from.as_bytes()).expect("the symbol is there");
    let mut data = data.to_vec();
    data[at..at + to.len()].copy_from_slice(to.as_bytes());
    data
}

#[rstest]
#[case("__sentinel", "__sentinex")]
#[case("__stack_arena_low", "__stack_arena_lox")]
#[case("__stack_task_low", "__stack_task_lox")]
#[case("__stack_task_high", "__stack_task_higx")]
#[case("_start", "_stary")]
fn a_missing_symbol_is_named(#[case] from: &str, #[case] to: &str) {
    let data = std::fs::read(path("arm64")).expect("the guest is there");
    let guest = Guest::parse("leaf".into(), Path::new("leaf.elf"), &rename(&data, from, to), cpu("arm64"));
    let outcome = guest
        .and_then(|guest| Program::mimic(guest, &[], 0))
        .and_then(|program| Machine::new(&program, "_start", 10_000).map(|_| ()));
    let error = outcome.expect_err("the symbol is missing").to_string();
    // Without its high word a stack is not declared at all, so the error names what is then missing.
    let named = if from == "__stack_task_high" { "__stack_task_low" } else { from };
    assert!(error.starts_with("leaf.elf: no symbol `") && error.contains(named), "{error}");
}

#[test]
fn a_guest_for_another_cpu_is_refused() {
    let error = Guest::load(&path("arm64"), cpu("riscv64")).expect_err("the wrong CPU").to_string();
    assert!(error.ends_with("leaf.elf: cannot be used: it is for arm64, not for riscv64"), "{error}");
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    for cpu in ALL {
        let data = std::fs::read(path(cpu.name)).expect("the guest is there");
        for len in (0..data.len()).step_by(7) {
            let name = || format!("{} cut to {len} of {} bytes", cpu.name, data.len());
            let outcome = Guest::parse("cut".into(), Path::new("cut.elf"), &data[..len], cpu);
            assert!(outcome.is_err(), "{}", name());
        }
    }
}

#[test]
fn corrupt_headers_are_refused_or_harmless() {
    // Each byte of the ELF header and of the program headers, flipped: an error or a guest, never a panic or a huge
    // allocation.
    for cpu in ALL {
        let data = std::fs::read(path(cpu.name)).expect("the guest is there");
        for at in 0..64 + 4 * 56 {
            for value in [0x00, 0x7f, 0xff] {
                let mut data = data.clone();
                data[at] = value;
                if let Ok(guest) = Guest::parse("bent".into(), Path::new("bent.elf"), &data, cpu) {
                    let _ = Program::mimic(guest, &[], 0);
                }
            }
        }
    }
}

#[test]
fn a_symbol_of_impossible_size_is_refused() {
    let data = std::fs::read(path("arm64")).expect("the guest is there");
    // st_size of an Elf64_Sym is at byte 16; the entry of `leaf` begins with its name's offset and STT_FUNC, STB_GLOBAL.
    let guest = Guest::parse("leaf".into(), Path::new("leaf.elf"), &data, cpu("arm64")).expect("a sound guest");
    let address = guest.function("leaf").expect("a function").address.to_le_bytes();
    let at = data.windows(8).rposition(|window| window == address).expect("its st_value");
    for size in [u64::MAX, 1 << 40] {
        let mut bent = data.clone();
        bent[at + 8..at + 16].copy_from_slice(&size.to_le_bytes());
        let error = Guest::parse("leaf".into(), Path::new("leaf.elf"), &bent, cpu("arm64")).expect_err("too large");
        assert!(error.to_string().contains("symbol leaf at 0x"), "{error}");
    }
}

#[test]
fn stacks_are_laid_out_in_the_order_asked_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/arm64/call_on_irq_stack.elf");
    let prepare = |order: &[&str], cfa_mod32| {
        let guest = Guest::load(&path, cpu("arm64")).expect("the guest loads");
        let order: Vec<String> = order.iter().map(|name| (*name).to_owned()).collect();
        Program::mimic(guest, &order, cfa_mod32)
    };
    for (order, cfa_mod32) in [(["irq", "task"], 0), (["irq", "task"], 16), (["task", "irq"], 0), (["task", "irq"], 16)]
    {
        let program = prepare(&order, cfa_mod32).expect("a permutation of the declared stacks");
        let stacks = &program.layout.stacks;
        assert_eq!(stacks.iter().map(|stack| stack.name.as_str()).collect::<Vec<_>>(), order);
        assert!(stacks[0].bounds.high < stacks[1].bounds.low, "low to high, and never adjacent");
        assert_eq!(program.layout.sp % 32, cfa_mod32);
        for stack in stacks {
            let size = stack.bounds.high - stack.bounds.low;
            assert_eq!(stack.bounds.low % (2 * size), 0, "one bit of SP shows an overflow");
        }
    }
    for order in [&["irq"][..], &["irq", "task", "task"], &["irq", "tusk"]] {
        let error = prepare(order, 0).expect_err("not a permutation").to_string();
        assert!(error.contains(r#"declares ["irq", "task"]"#), "{error}");
    }
}

#[test]
fn poison_is_never_a_return_address_and_never_the_same_everywhere() {
    for cpu in ALL {
        let guest = Guest::load(&path(cpu.name), cpu).expect("the guest loads");
        let program = Program::mimic(guest, &[], 0).expect("a sound guest");
        let bounds = program.bounds[0];
        let words: Vec<u64> =
            (bounds.low..bounds.high).step_by(8).map(|address| program.poison.word(address)).collect();
        let count = |is: &dyn Fn(u64) -> bool| words.iter().filter(|word| is(**word)).count();
        for small in 0..3 {
            assert!(count(&|word| word == small) > words.len() / 20, "{}: {small}", cpu.name);
        }
        assert!(count(&|word| bounds.contains(word, 8)) > words.len() / 10, "{}: stack addresses", cpu.name);
        let text = count(&|word| program.guest.symbols.function_at(word).is_some());
        assert!(text > words.len() / 10, "{}: text addresses", cpu.name);
        let mut previous = None;
        for line in program.listing.lines() {
            let follows_a_call = previous.is_some_and(|kind| kind == cpu::FlowKind::Call);
            assert!(!(follows_a_call && program.poison.may_be(line.address)), "{}: {}", cpu.name, line.text);
            previous = Some(line.flow.kind);
        }
    }
}

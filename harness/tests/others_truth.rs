//! What is known of the code of others without a scenario: the callee-saved registers of every caller, at every instruction, and
//! functions that do not keep to the ABI.

use unwind_harness::recording::Recording;
use unwind_harness::recording::rows::{FunctionRows, TableResult};
use unwind_harness::rows;

use crate::user_call::{call, object};

/// Options that let clang's assembler take what GNU's takes.
fn options(cpu: &str) -> &'static [&'static str] {
    if cpu == "riscv64" { &["-mno-relax"] } else { &[] }
}

fn function(name: &str, kind: &str, body: &str) -> String {
    format!("{kind}\n.type {name}, %function\n{name}:\n.cfi_startproc\n{body}\n.cfi_endproc\n.size {name}, .-{name}\n")
}

fn rows_of<'r>(report: &'r Recording, name: &str) -> &'r FunctionRows {
    report.rows[0].functions.iter().find(|function| function.name == name).unwrap_or_else(|| panic!("{name} ran"))
}

fn dwarf(function: &FunctionRows) -> &TableResult {
    function.tables.iter().find(|table| table.format == "dwarf").expect("it has CFI")
}

/// A function saves a register, and its slot has another value for two instructions: between the store at the first offset and
/// the one after the second. Then it calls one that does the same to its caller's slot.
struct Slot {
    cpu: &'static str,
    body: &'static str,
    /// The instructions at which its row is wrong, the call included.
    wrong: [u64; 3],
    callee: &'static str,
}

const SLOTS: [Slot; 3] = [
    Slot {
        cpu: "arm64",
        body: "stp x30, x19, [sp, #-16]!\n.cfi_def_cfa_offset 16\n.cfi_offset x30, -16\n.cfi_offset x19, -8\n\
               mov x19, #7\nldr x9, [sp, #8]\nstr x19, [sp, #8]\nnop\nstr x9, [sp, #8]\nbl other\n\
               ldp x30, x19, [sp], #16\n.cfi_def_cfa_offset 0\n.cfi_restore x30\n.cfi_restore x19\nret",
        wrong: [0x10, 0x14, 0x18],
        callee: "ldr x9, [sp, #8]\nstr x19, [sp, #8]\nnop\nstr x9, [sp, #8]\nret",
    },
    Slot {
        cpu: "riscv64",
        body: "addi sp, sp, -16\n.cfi_def_cfa_offset 16\nsd ra, 0(sp)\n.cfi_offset ra, -16\nsd s1, 8(sp)\n.cfi_offset s1, -8\n\
               li s1, 7\nld t0, 8(sp)\nsd s1, 8(sp)\nnop\nsd t0, 8(sp)\njal ra, other\n\
               ld s1, 8(sp)\n.cfi_restore s1\nld ra, 0(sp)\n.cfi_restore ra\naddi sp, sp, 16\n.cfi_def_cfa_offset 0\nret",
        wrong: [0xc, 0xe, 0x10],
        callee: "ld t0, 8(sp)\nsd s1, 8(sp)\nnop\nsd t0, 8(sp)\nret",
    },
    Slot {
        cpu: "x86_64",
        body: "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\nmov $7, %ebx\nmov (%rsp), %rax\n\
               mov %rbx, (%rsp)\nnop\nmov %rax, (%rsp)\ncall other\npop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbx\nret",
        wrong: [0xe, 0xf, 0x13],
        callee: "mov 8(%rsp), %rax\nmov %rbx, 8(%rsp)\nnop\nmov %rax, 8(%rsp)\nret",
    },
];

/// All registers have values that nothing else has, and each activation knows those of its caller.
#[test]
fn a_slot_that_is_overwritten_and_restored_is_seen_at_the_instruction() {
    let folder = tempfile::tempdir().expect("a folder");
    for Slot { cpu, body, wrong, callee } in SLOTS {
        let text = function("slot", ".globl slot", body) + &function("other", "", callee);
        let Some(object) = object(folder.path(), cpu, "slot.s", &text, options(cpu)) else { return };
        let report = rows::run_all("".as_ref(), &[call(&object, "slot", &[])], &[]).expect("it runs");
        assert_eq!(report.rows[0].void, None, "{cpu}");
        let found: Vec<u64> = dwarf(rows_of(&report, "slot")).wrong.iter().map(|wrong| wrong.offset).collect();
        assert_eq!(found, wrong, "{cpu}: {:?}", dwarf(rows_of(&report, "slot")).wrong);
        assert!(dwarf(rows_of(&report, "other")).wrong.is_empty(), "{cpu}: its own rows are right");
        let level = &report.checked.as_ref().expect("it was checked").levels["dwarf"];
        assert!(level.wrong == 2 && level.innermost_right + 2 == report.rows[0].points, "{cpu}: {level:?}");
        // Where the slot of a function that waits is wrong, the innermost frame is right and the chain is not.
        assert_eq!(level.exact, Some(level.innermost_right - 2), "{cpu}: {level:?}");
    }
}

/// A function that saves a register and calls another, which leaves it changed.
const CHANGING: [(&str, &str, &str, &str); 3] = [
    (
        "arm64",
        "x19",
        "stp x30, x19, [sp, #-16]!\n.cfi_def_cfa_offset 16\n.cfi_offset x30, -16\n.cfi_offset x19, -8\nbl other\nmov x0, x19\n\
         ldp x30, x19, [sp], #16\n.cfi_def_cfa_offset 0\n.cfi_restore x30\n.cfi_restore x19\nret",
        "mov x19, #7\nnop\nret",
    ),
    (
        "riscv64",
        "s1",
        "addi sp, sp, -16\n.cfi_def_cfa_offset 16\nsd ra, 0(sp)\n.cfi_offset ra, -16\nsd s1, 8(sp)\n.cfi_offset s1, -8\n\
         jal ra, other\nmv a0, s1\n\
         ld s1, 8(sp)\n.cfi_restore s1\nld ra, 0(sp)\n.cfi_restore ra\naddi sp, sp, 16\n.cfi_def_cfa_offset 0\nret",
        "li s1, 7\nnop\nret",
    ),
    (
        "x86_64",
        "rbx",
        "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\ncall other\nmov %rbx, %rax\n\
         pop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbx\nret",
        "mov $7, %ebx\nnop\nret",
    ),
];

/// What only its own file can call may have a convention of its own; what others can call may not.
#[test]
fn a_local_function_may_have_a_convention_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, register, body, callee) in CHANGING {
        for kind in ["", ".globl other"] {
            let text = function("caller", ".globl caller", body) + &function("other", kind, callee);
            let Some(object) = object(folder.path(), cpu, "changing.s", &text, options(cpu)) else { return };
            let report = rows::run_all("".as_ref(), &[call(&object, "caller", &[])], &[]).expect("it runs");
            let void = report.rows[0].void.as_deref();
            if !kind.is_empty() {
                let story = format!("callee-saved {register} was ");
                let blamed = "the register itself was changed at other+0x0";
                assert!(void.is_some_and(|it| it.contains(&story) && it.contains(blamed)), "{cpu}: {void:?}");
                continue;
            }
            assert_eq!(void, None, "{cpu}");
            let (caller, other) = (rows_of(&report, "caller"), rows_of(&report, "other"));
            assert_eq!(other.changes, [register], "{cpu}");
            assert!(caller.changes.is_empty(), "{cpu}: it restores it");
            // Its caller's own registers are judged all the time, and so is all else in the other.
            let saved = dwarf(caller).saved.expect("CFI has them");
            assert_eq!((saved.judged, saved.right), (caller.ran, caller.ran), "{cpu}");
            assert!(dwarf(other).wrong.is_empty() && dwarf(other).ra.judged == other.ran, "{cpu}: {other:?}");
            let mut printed = Vec::new();
            unwind_harness::report::rows::write(&report, &mut printed).expect("memory can be written");
            let printed = String::from_utf8(printed).expect("text");
            assert!(printed.contains(&format!("other returns with {register} changed")), "{cpu}: {printed}");
        }
    }
}

/// Current arm64 libraries sign their return addresses. A program's addresses are low, unlike a kernel's.
#[test]
fn signed_return_addresses_of_programs_are_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = "hint #25\n.cfi_negate_ra_state\nstp x29, x30, [sp, #-16]!\n.cfi_def_cfa_offset 16\n.cfi_offset x29, -16\n\
                .cfi_offset x30, -8\nbl other\nldp x29, x30, [sp], #16\n.cfi_def_cfa_offset 0\n.cfi_restore x29\n\
                .cfi_restore x30\nhint #29\n.cfi_negate_ra_state\nret";
    let text = function("signs", ".globl signs", body) + &function("other", "", "nop\nret");
    let Some(object) = object(folder.path(), "arm64", "signed.s", &text, &[]) else { return };
    let report = rows::run_all("".as_ref(), &[call(&object, "signs", &[])], &[]).expect("it runs");
    let table = dwarf(rows_of(&report, "signs"));
    assert_eq!((table.ra.judged, table.ra.right, table.wrong.len()), (6, 6, 0), "{table:?}");
    let level = &report.checked.as_ref().expect("it was checked").levels["dwarf"];
    assert_eq!(level.exact, Some(report.rows[0].points), "{level:?}");
}

//! Instructions as bytes, and what they do.

use super::Effects;
use crate::cpu;

/// The effects of this code, as they are shown and, where that differs, as they are compared.
fn effects(cpu: &str, watched: &[&str], code: &[u8]) -> Vec<String> {
    let watched: Vec<String> = watched.iter().map(|name| (*name).to_owned()).collect();
    let mut decoder = Effects::new(cpu::by_name(cpu).expect("a CPU"), &watched).expect("a decoder");
    let mut all = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let step = decoder.step(0x1000 + at as u64, &code[at..]);
        at += step.size as usize;
        let shown = |effect: super::Effect| {
            if effect.key == effect.text { effect.text } else { format!("{} ~ {}", effect.text, effect.key) }
        };
        all.extend(step.effects.into_iter().map(shown));
    }
    all
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn an_arm64_frame_is_linked_and_unlinked() {
    let code = words(&[
        0xa9be_7bfd, // stp x29, x30, [sp, #-32]!
        0x9100_03fd, // mov x29, sp
        0xf900_0bf3, // str x19, [sp, #16]
        0x9100_03bf, // mov sp, x29
        0xa8c2_7bfd, // ldp x29, x30, [sp], #32
    ]);
    let expected =
        ["sp -= 32", "[sp] = fp", "[sp+8] = ra", "fp = sp", "sp = fp", "fp = [sp]", "ra = [sp+8]", "sp += 32"];
    assert_eq!(effects("arm64", &[], &code), expected);
}

#[test]
fn an_arm64_exception_leaves_a_metadata_record() {
    let code = words(&[
        0xd538_4036, // mrs x22, elr_el1
        0xd538_4017, // mrs x23, spsr_el1
        0xa912_ffff, // stp xzr, xzr, [sp, #296]
        0xd280_0040, // mov x0, #2
        0xf900_9fe0, // str x0, [sp, #312]
        0x9104_a3fd, // add x29, sp, #296
        0xa910_5ff6, // stp x22, x23, [sp, #256]
        0xf900_67e1, // str x1, [sp, #200]: of no interest
    ]);
    let expected = ["[sp+296] = 0", "[sp+304] = 0", "[sp+312] = 2", "fp = sp+296", "[sp+256] = elr", "[sp+264] = spsr"];
    assert_eq!(effects("arm64", &[], &code), expected);
}

#[test]
fn an_arm64_switch_of_tasks_and_of_stacks() {
    let code = words(&[
        0x9100_03e9, // mov x9, sp
        0xa900_251d, // stp x29, x9, [x8]
        0xf900_091e, // str x30, [x8, #16]
        0xa940_251d, // ldp x29, x9, [x8]
        0x9100_013f, // mov sp, x9
        0xd518_4101, // msr sp_el0, x1
        0xd503_233f, // paciasp
        0xd503_23bf, // autiasp
    ]);
    let expected = [
        "[x8+0] = fp ~ [*] = fp",
        "[x8+16] = ra ~ [*] = ra",
        "fp = [x8+0] ~ fp = [*]",
        "sp = x9 ~ sp = *",
        "current = x1 ~ current = *",
        "sign ra",
        "authenticate ra",
    ];
    assert_eq!(effects("arm64", &[], &code), expected);
}

#[test]
fn a_watched_register_counts() {
    let code = words(&[0xa9bf_27fd]); // stp x29, x9, [sp, #-16]!
    assert_eq!(effects("arm64", &[], &code), ["sp -= 16", "[sp] = fp"]);
    assert_eq!(effects("arm64", &["x9"], &code), ["sp -= 16", "[sp] = fp", "[sp+8] = x9"]);
}

#[test]
fn a_riscv64_frame_in_both_encodings() {
    let mut code = Vec::new();
    for half in [0x1141_u16, 0xe406, 0xe022, 0x0800] {
        code.extend(half.to_le_bytes()); // addi sp, sp, -16; sd ra, 8(sp); sd s0, 0(sp); addi s0, sp, 16
    }
    code.extend(words(&[
        0xff04_0113, // addi sp, s0, -16
        0x0081_3083, // ld ra, 8(sp)
        0x0001_3403, // ld s0, 0(sp)
        0x0101_0113, // addi sp, sp, 16
    ]));
    let expected =
        ["sp -= 16", "[sp+8] = ra", "[sp] = fp", "fp = sp+16", "sp = fp-16", "ra = [sp+8]", "fp = [sp]", "sp += 16"];
    assert_eq!(effects("riscv64", &[], &code), expected);
}

#[test]
fn a_riscv64_trap_takes_tp_from_sscratch() {
    let code = words(&[
        0x1402_1273, // csrrw tp, sscratch, tp
        0x1410_2973, // csrr s2, sepc
        0x1121_3023, // sd s2, 256(sp)
        0x1400_1073, // csrw sscratch, zero
        0x0102_3103, // ld sp, 16(tp)
        0x0062_8133, // add sp, t0, t1
        0x00e1_5113, // srli sp, sp, 14
    ]);
    let expected = [
        "current = sscratch",
        "sscratch = current",
        "[sp+256] = sepc",
        "sscratch = 0",
        "sp = [tp+16] ~ sp = [*]",
        "sp = add t0, t1 ~ sp = *",
        "sp = srli sp, 0xe ~ sp = srli",
    ];
    assert_eq!(effects("riscv64", &[], &code), expected);
}

#[test]
fn an_x86_64_return_address_moves() {
    let code = [
        0x56, // push %rsi
        0x48, 0x8b, 0x74, 0x24, 0x08, // mov 8(%rsp), %rsi
        0x48, 0x89, 0x7c, 0x24, 0x08, // mov %rdi, 8(%rsp)
        0x55, // push %rbp
        0x31, 0xed, // xor %ebp, %ebp
        0x48, 0x8d, 0x6c, 0x24, 0x09, // lea 9(%rsp), %rbp
        0x48, 0x89, 0xc4, // mov %rax, %rsp
        0x5d, // pop %rbp
        0x48, 0x83, 0xc4, 0x08, // add $8, %rsp
        0x6a, 0xff, // push $-1
    ];
    let expected = [
        "push rsi",
        "rsi = [sp+8]",
        "[sp+8] = rdi",
        "push fp",
        "fp = 0",
        "fp = sp+9",
        "sp = %rax ~ sp = *",
        "pop fp",
        "sp += 8",
        "push constant",
    ];
    assert_eq!(effects("x86_64", &[], &code), expected);
}

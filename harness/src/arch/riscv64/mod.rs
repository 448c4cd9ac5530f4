//! 64-bit RISC-V.

mod exception;
mod flow;

use capstone::Capstone;
use capstone::arch::{BuildsCapstone as _, BuildsCapstoneExtraMode as _};
use kunwind::{Abi, Register, Regs};
use unicorn_engine::{RegisterRISCV as R, Unicorn, uc_error};

use super::{Arch, Engine, Exception, Flow, Linkage};
use crate::machine::{Context, Memory};

/// 64-bit RISC-V.
#[derive(Debug)]
pub(super) struct Riscv64;

/// psABI, integer register convention: s0..s11 = x8, x9, x18..x27.
#[rustfmt::skip]
const CALLEE_SAVED: [Register; 12] = [
    Register(8), Register(9), Register(18), Register(19), Register(20), Register(21), Register(22), Register(23),
    Register(24), Register(25), Register(26), Register(27),
];

/// By DWARF number: x0..x31, whose ids follow each other.
const IDS: [i32; 32] = {
    let mut ids = [0; 32];
    let mut number = 0;
    while number < ids.len() {
        ids[number] = R::X0 as i32 + number as i32;
        number += 1;
    }
    ids
};

impl Arch for Riscv64 {
    fn name(&self) -> &'static str {
        "riscv64"
    }

    fn abi(&self) -> &'static Abi {
        &kunwind::abi::RISCV64
    }

    fn elf_machine(&self) -> u16 {
        243 // EM_RISCV
    }

    fn engine(&self, _: bool) -> Engine {
        Engine { arch: unicorn_engine::Arch::RISCV, mode: unicorn_engine::Mode::RISCV64, model: None }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, _: &[Option<u64>], _: bool) -> Result<(), uc_error> {
        exception::boot(engine)
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn sp(&self) -> Register {
        Register(2)
    }

    fn callee_saved(&self) -> &'static [Register] {
        &CALLEE_SAVED
    }

    fn linkage(&self) -> Linkage {
        Linkage::Register(&[Register(1), Register(5)]) // unprivileged ISA 2.5.1: link registers are x1 (ra) and x5 (t0)
    }

    fn flow(&self, address: u64, bytes: &[u8]) -> Flow {
        flow::decode(address, bytes)
    }

    fn vector_symbols(&self) -> &'static [&'static str] {
        exception::VECTORS
    }

    fn take_exception(
        &self,
        engine: &mut Unicorn<'_, Context<'_>>,
        memory: &Memory,
        vectors: &[Option<u64>],
        exception: Exception,
        pc: u64,
    ) -> Result<(), String> {
        exception::take(engine, memory, vectors, exception, pc)
    }

    fn exception_functions(&self) -> &'static [&'static str] {
        &["handle_exception", "ret_from_exception"] // Linux arch/riscv/kernel/stacktrace.c
    }

    /// There is no NMI; a fault is what can happen to entry code.
    fn nested_exception(&self) -> Exception {
        Exception::Fault
    }

    fn syscall(&self, number: u32, pc: u64) -> Option<(u64, u64)> {
        // sepc is the ecall; Unicorn has gone on, as the kernel will.
        matches!(number, 8 | 9).then(|| (pc.wrapping_sub(4), pc))
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::PRIV as i32) == 0
    }

    fn status_id(&self) -> i32 {
        R::SSTATUS as i32
    }

    fn status_mask(&self) -> u64 {
        !(1 << 8 | 1 << 5) // sret itself changes sstatus.SPP and SPIE
    }

    fn can_arrive(&self, exception: Exception, status: u64) -> bool {
        match exception {
            Exception::Irq => status & 1 << 1 != 0, // sstatus.SIE
            Exception::Nmi | Exception::SError | Exception::Sdei => false,
            Exception::Fault | Exception::Debug | Exception::Syscall => true,
        }
    }

    fn saved_context(&self, memory: &Memory, task: u64) -> Option<(u64, Regs)> {
        // ra, sp, s0..s11 from byte 16 on.
        let read = |index: u64| memory.read_u64(task + 16 + 8 * index);
        let mut regs = Regs::none();
        regs.set(self.abi().sp, read(1)?);
        regs.set(self.abi().fp, read(2)?);
        Some((read(0)?, regs))
    }

    fn first_argument(&self) -> Register {
        Register(10)
    }

    /// Privileged ISA, table "mcause values after trap".
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            0 => "instruction address misaligned",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "load address misaligned",
            6 => "store address misaligned",
            8..=11 => "ecall",
            _ => "unknown",
        }
    }

    fn disassembler(&self) -> Result<Capstone, capstone::Error> {
        use capstone::arch::riscv::{ArchExtraMode, ArchMode};
        Capstone::new()
            .riscv()
            .mode(ArchMode::RiscV64)
            .extra_mode(std::iter::once(ArchExtraMode::RiscVC))
            .detail(true)
            .build()
    }
}

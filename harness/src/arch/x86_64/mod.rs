//! x86-64.

mod exception;
mod privilege;

use capstone::Capstone;
use capstone::arch::BuildsCapstone as _;
use capstone::arch::BuildsCapstoneSyntax as _;
use kunwind::{Abi, Register, Regs};
use unicorn_engine::{RegisterX86 as R, Unicorn, uc_error};

use super::{Arch, Engine, Exception, Flow, Linkage};
use crate::machine::{Context, Memory};

/// x86-64 in long mode.
#[derive(Debug)]
pub(super) struct X86_64;

/// psABI 3.2.1: rbx, rbp, r12..r15.
const CALLEE_SAVED: [Register; 6] = [Register(3), Register(6), Register(12), Register(13), Register(14), Register(15)];

/// Instructions that enter or leave an exception and that capstone 5 puts in no such group.
const EXCEPTIONS: &[&str] = &["syscall", "sysret", "sysretq", "ud2", "ud2b"];

/// By DWARF number (psABI figure 3.36): the order is not that of the encoding.
#[rustfmt::skip]
const IDS: [i32; 17] = [
    R::RAX as i32, R::RDX as i32, R::RCX as i32, R::RBX as i32, R::RSI as i32, R::RDI as i32, R::RBP as i32,
    R::RSP as i32, R::R8 as i32, R::R9 as i32, R::R10 as i32, R::R11 as i32, R::R12 as i32, R::R13 as i32,
    R::R14 as i32, R::R15 as i32, R::RIP as i32,
];

impl Arch for X86_64 {
    fn name(&self) -> &'static str {
        "x86_64"
    }

    fn abi(&self) -> &'static Abi {
        &kunwind::abi::X86_64
    }

    fn elf_machine(&self) -> u16 {
        62 // EM_X86_64
    }

    fn engine(&self, _: bool) -> Engine {
        Engine { arch: unicorn_engine::Arch::X86, mode: unicorn_engine::Mode::MODE_64, model: None }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, vectors: &[Option<u64>], _: bool) -> Result<(), uc_error> {
        exception::boot(engine, vectors)
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn sp(&self) -> Register {
        Register(7)
    }

    fn callee_saved(&self) -> &'static [Register] {
        &CALLEE_SAVED
    }

    fn linkage(&self) -> Linkage {
        Linkage::Push // SDM volume 2, CALL
    }

    fn flow(&self, address: u64, bytes: &[u8]) -> Flow {
        thread_local!(static CAPSTONE: Option<Capstone> = X86_64.disassembler().ok());
        let flow = CAPSTONE.with(|capstone| match capstone {
            Some(capstone) => super::flow_by_group(capstone, address, bytes, EXCEPTIONS),
            None => Flow::SEQUENTIAL,
        });
        // LOOP, LOOPE, LOOPNE (SDM volume 2: E0..E2 cb) are in no group of capstone 5.
        match bytes {
            [0xe0..=0xe2, displacement, ..] => Flow {
                kind: super::FlowKind::Jump,
                target: Some(address.wrapping_add(2).wrapping_add_signed(i64::from(displacement.cast_signed()))),
            },
            _ => flow,
        }
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

    fn syscall(&self, number: u32, pc: u64) -> Option<(u64, u64)> {
        exception::syscall(number, pc)
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::CS as i32) & 3 == 3
    }

    fn status_id(&self) -> i32 {
        R::RFLAGS as i32
    }

    fn status_mask(&self) -> u64 {
        u64::MAX
    }

    fn can_arrive(&self, exception: Exception, status: u64) -> bool {
        match exception {
            Exception::Irq => status & 1 << 9 != 0, // RFLAGS.IF
            Exception::Nmi | Exception::Debug | Exception::Fault | Exception::Syscall => true,
            Exception::SError | Exception::Sdei => false,
        }
    }

    fn saved_context(&self, memory: &Memory, task: u64) -> Option<(u64, Regs)> {
        // The saved sp at byte 16; on the stack r15, r14, r13, r12, rbx, rbp and the return address.
        let sp = memory.read_u64(task + 16)?;
        let mut regs = Regs::none();
        regs.set(self.abi().fp, memory.read_u64(sp + 40)?);
        regs.set(self.abi().sp, sp + 56);
        Some((memory.read_u64(sp + 48)?, regs))
    }

    fn first_argument(&self) -> Register {
        Register(5)
    }

    /// SDM volume 3, table 7-1.
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            0 => "#DE",
            1 => "#DB",
            3 => "#BP",
            6 => "#UD",
            8 => "#DF",
            11 => "#NP",
            12 => "#SS",
            13 => "#GP",
            14 => "#PF",
            privilege::SYSCALL => "syscall",
            _ => "unknown",
        }
    }

    fn disassembler(&self) -> Result<Capstone, capstone::Error> {
        use capstone::arch::x86::{ArchMode, ArchSyntax};
        Capstone::new().x86().mode(ArchMode::Mode64).syntax(ArchSyntax::Att).detail(true).build()
    }
}

#[cfg(test)]
mod tests {
    use super::X86_64;
    use crate::arch::Arch as _;
    use crate::arch::FlowKind::{Call, Exception, Jump, Return, Sequential};

    #[test]
    fn transfers_are_told_apart() {
        for (bytes, kind, target) in [
            (&[0x90_u8][..], Sequential, None),           // nop
            (&[0xe8, 0x0b, 0, 0, 0], Call, Some(0x1010)), // call .+16
            (&[0xff, 0xd0], Call, None),                  // call *%rax
            (&[0xff, 0x15, 0, 0, 0, 0], Call, None),      // call *0(%rip)
            (&[0xeb, 0x0e], Jump, Some(0x1010)),          // jmp .+16
            (&[0x74, 0x0e], Jump, Some(0x1010)),          // je .+16
            (&[0xe2, 0xfe], Jump, Some(0x1000)),          // loop .
            (&[0x41, 0xff, 0xe3], Jump, None),            // jmp *%r11
            (&[0xc3], Return, None),                      // ret
            (&[0xc2, 0x10, 0], Return, None),             // ret $16
            (&[0x48, 0xcf], Exception, None),             // iretq
            (&[0x0f, 0x05], Exception, None),             // syscall
            (&[0xcc], Exception, None),                   // int3
            (&[0x0f, 0x0b], Exception, None),             // ud2
        ] {
            let flow = X86_64.flow(0x1000, bytes);
            assert_eq!((flow.kind, flow.target), (kind, target), "{bytes:02x?}");
        }
    }
}

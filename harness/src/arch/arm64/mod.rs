//! 64-bit Arm.

mod exception;
mod firmware;

use capstone::Capstone;
use capstone::arch::BuildsCapstone as _;
use kunwind::{Abi, Register, Regs};
use unicorn_engine::{RegisterARM64 as R, Unicorn, uc_error};

use super::{Arch, Engine, Exception, Flow, Linkage};
use crate::machine::{Context, Memory};

/// 64-bit Arm, little endian.
#[derive(Debug)]
pub(super) struct Arm64;

/// AAPCS64 6.1.1: x19..x28 and the frame pointer x29.
const CALLEE_SAVED: [Register; 11] = {
    let mut list = [Register(19); 11];
    let mut index = 0;
    while index < list.len() {
        list[index] = Register(19 + index as u8);
        index += 1;
    }
    list
};

/// UC_CPU_ARM64_MAX.
const CPU_MAX: i32 = 3;

/// QEMU target/arm/cpu.h, EXCP_SWI.
const SWI: u32 = 2;

/// QEMU target/arm/cpu.h, EXCP_BKPT.
const BKPT: u32 = 7;

/// QEMU target/arm/cpu.h, EXCP_SMC.
const SMC: u32 = 13;

/// Instructions that enter or leave an exception, for which capstone 5 has no group.
const EXCEPTIONS: &[&str] = &["eret", "eretaa", "eretab", "svc", "hvc", "smc", "brk", "hlt", "udf"];

/// By DWARF number: x0..x30, SP. x29 and x30 have ids of their own, away from x0..x28.
#[rustfmt::skip]
const IDS: [i32; 32] = [
    R::X0 as i32, R::X1 as i32, R::X2 as i32, R::X3 as i32, R::X4 as i32, R::X5 as i32, R::X6 as i32, R::X7 as i32,
    R::X8 as i32, R::X9 as i32, R::X10 as i32, R::X11 as i32, R::X12 as i32, R::X13 as i32, R::X14 as i32, R::X15 as i32,
    R::X16 as i32, R::X17 as i32, R::X18 as i32, R::X19 as i32, R::X20 as i32, R::X21 as i32, R::X22 as i32,
    R::X23 as i32, R::X24 as i32, R::X25 as i32, R::X26 as i32, R::X27 as i32, R::X28 as i32, R::X29 as i32,
    R::X30 as i32, R::SP as i32,
];

impl Arch for Arm64 {
    fn name(&self) -> &'static str {
        "arm64"
    }

    fn abi(&self) -> &'static Abi {
        &kunwind::abi::ARM64
    }

    fn elf_machine(&self) -> u16 {
        183 // EM_AARCH64
    }

    fn engine(&self, max: bool) -> Engine {
        Engine {
            arch: unicorn_engine::Arch::ARM64,
            mode: unicorn_engine::Mode::LITTLE_ENDIAN,
            model: max.then_some(CPU_MAX),
        }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, _: &[Option<u64>], max: bool) -> Result<(), uc_error> {
        exception::boot(engine, max)
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn sp(&self) -> Register {
        Register(31)
    }

    fn callee_saved(&self) -> &'static [Register] {
        &CALLEE_SAVED
    }

    fn linkage(&self) -> Linkage {
        Linkage::Register(&[Register(30)]) // Arm ARM C6.2: BL and BLR write X30
    }

    fn flow(&self, address: u64, bytes: &[u8]) -> Flow {
        thread_local!(static CAPSTONE: Option<Capstone> = Arm64.disassembler().ok());
        CAPSTONE.with(|capstone| match capstone {
            Some(capstone) => super::flow_by_group(capstone, address, bytes, EXCEPTIONS),
            None => Flow::SEQUENTIAL,
        })
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
        match number {
            SWI => Some((pc, pc)),  // ELR_EL1 is the address behind the svc
            BKPT => Some((pc, pc)), // and that of the brk itself
            _ => None,
        }
    }

    fn firmware_call(&self, engine: &mut Unicorn<'_, Context<'_>>, number: u32, pc: u64) -> Option<Result<(), String>> {
        (number == SMC).then(|| firmware::call(engine, pc))
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::PSTATE as i32) & 0b1100 == 0 // PSTATE.EL
    }

    fn status_id(&self) -> i32 {
        R::PSTATE as i32
    }

    fn status_mask(&self) -> u64 {
        u64::MAX
    }

    fn can_arrive(&self, exception: Exception, status: u64) -> bool {
        match exception {
            Exception::Irq => status & 1 << 7 == 0, // PSTATE.I
            // FIQ plays the NMI. A pseudo-NMI of Linux is an interrupt that a priority mask lets through: not in entry code,
            // which sets PSTATE.I and F. So PSTATE.F is its mask here.
            Exception::Nmi => status & 1 << 6 == 0,
            Exception::Debug => status & 1 << 9 == 0, // PSTATE.D: masks the CPU's breakpoints, but no BRK
            Exception::SError => status & 1 << 8 == 0, // PSTATE.A
            // Not even the masks of the most privileged code stop an event of the firmware.
            Exception::Fault | Exception::Syscall | Exception::Sdei => true,
        }
    }

    fn saved_context(&self, memory: &Memory, task: u64) -> Option<(u64, Regs)> {
        // x19..x28, fp, sp, pc from byte 16 on.
        let read = |index: u64| memory.read_u64(task + 16 + 8 * index);
        let mut regs = Regs::none();
        regs.set(self.abi().fp, read(10)?);
        regs.set(self.abi().sp, read(11)?);
        Some((read(12)?, regs))
    }

    fn saved_pc(&self) -> Option<i64> {
        Some(256 - 320) // PT_PC and PT_SIZE of guests/arm64/include/kernel.S
    }

    fn first_argument(&self) -> Register {
        Register(0)
    }

    /// QEMU target/arm/cpu.h, EXCP_*.
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            1 => "undefined instruction",
            2 => "svc",
            3 => "prefetch abort",
            4 => "data abort",
            7 => "brk",
            11 => "hvc",
            SMC => "smc",
            _ => "unknown",
        }
    }

    fn disassembler(&self) -> Result<Capstone, capstone::Error> {
        Capstone::new().arm64().mode(capstone::arch::arm64::ArchMode::Arm).detail(true).build()
    }
}

#[cfg(test)]
mod tests {
    use super::Arm64;
    use crate::arch::{Arch as _, Exception, Flow, FlowKind};

    #[test]
    fn each_mask_stops_its_own_exception() {
        use Exception::{Fault, Irq, Nmi, SError, Sdei, Syscall};
        let arrive = |status| [Irq, Nmi, SError].map(|exception| Arm64.can_arrive(exception, status));
        assert_eq!(arrive(0x05), [true; 3]); // EL1h
        assert_eq!(arrive(0x85), [false, true, true]); // PSTATE.I
        assert_eq!(arrive(0x45), [true, false, true]); // PSTATE.F
        assert_eq!(arrive(0x105), [true, true, false]); // PSTATE.A
        assert!([Fault, Syscall, Sdei].iter().all(|exception| Arm64.can_arrive(*exception, 0x3c5)));
    }

    #[test]
    fn transfers_are_told_apart() {
        for (word, kind, target) in [
            (0xd503_201f_u32, FlowKind::Sequential, None), // nop
            (0x9400_0004, FlowKind::Call, Some(0x1010)),   // bl .+16
            (0xd63f_0020, FlowKind::Call, None),           // blr x1
            (0x1400_0002, FlowKind::Jump, Some(0x1008)),   // b .+8
            (0xb400_0040, FlowKind::Jump, Some(0x1008)),   // cbz x0, .+8
            (0xd61f_0200, FlowKind::Jump, None),           // br x16
            (0xd65f_03c0, FlowKind::Return, None),         // ret
            (0xd65f_0120, FlowKind::Return, None),         // ret x9
            (0xd69f_03e0, FlowKind::Exception, None),      // eret
            (0xd400_0001, FlowKind::Exception, None),      // svc #0
        ] {
            assert_eq!(Arm64.flow(0x1000, &word.to_le_bytes()), Flow { kind, target }, "{word:#010x}");
        }
    }
}

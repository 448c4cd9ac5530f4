//! How an x86-64 CPU takes an interrupt or exception in long mode (SDM volume 3, 7.14: exception and interrupt handling in
//! 64-bit mode), and a system call (SDM volume 2, SYSCALL).
//!
//! Left out: RFLAGS.RF, which the CPU sets in the image that a page fault pushes, and CR2. No guest looks at either.

use unicorn_engine::{RegisterX86 as R, Unicorn, uc_error};

use super::privilege;
use crate::cpu::Exception;
use crate::guest::conventions::{Vector, Vectors};
use crate::machine::{Context, GuestMemory};
use crate::trace::Memory as _;

const KERNEL_CS: u64 = 0x10;
const KERNEL_SS: u64 = 0x18;
/// RFLAGS.{TF, IF, NT, RF, VM}, which an interrupt gate clears.
const CLEARED: u64 = 0x3_4300;
/// RFLAGS.{CF, PF, AF, ZF, SF, TF, IF, DF, OF, IOPL, NT, RF, AC, ID}, which Linux lets SYSCALL clear (IA32_FMASK).
const CLEARED_BY_SYSCALL: u64 = 0x25_7fd5;
/// Bit 2 of a page fault's error code, U/S: the access came from user mode. The other bits are 0: a read of a page that is not
/// present (SDM volume 3, 5.7).
const ERROR_CODE_USER: u64 = 1 << 2;
/// The length of SYSCALL, which Unicorn adds to RIP after its hook.
const SYSCALL_SIZE: u64 = 2;

/// What the IDT and the TSS would hold for an exception.
struct Gate {
    entry: Vector,
    /// The word with the top of the stack that the TSS's interrupt stack table names.
    ist: Option<Vector>,
    has_error_code: bool,
}

const DOUBLE_FAULT: Gate =
    Gate { entry: Vector::DoubleFault, ist: Some(Vector::DoubleFaultStack), has_error_code: true };

const fn gate(exception: Exception) -> Option<Gate> {
    Some(match exception {
        Exception::Irq => Gate { entry: Vector::Irq, ist: None, has_error_code: false },
        Exception::Fault => Gate { entry: Vector::Fault, ist: None, has_error_code: true },
        Exception::Nmi => Gate { entry: Vector::Nmi, ist: Some(Vector::NmiStack), has_error_code: false },
        Exception::Debug => Gate { entry: Vector::Debug, ist: Some(Vector::DebugStack), has_error_code: false },
        Exception::Syscall | Exception::SError | Exception::Sdei => return None,
    })
}

/// Takes an exception. If its frame does not fit on its stack, it becomes a double fault: the frame hits the guard page, and
/// the page fault's own frame hits it again (SDM volume 3, 7.15, table 7-5).
pub(super) fn take(
    engine: &mut Unicorn<'_, Context<'_>>,
    memory: &GuestMemory,
    vectors: &Vectors,
    exception: Exception,
    pc: u64,
) -> Result<(), String> {
    if matches!(exception, Exception::SError | Exception::Sdei) {
        return Err(format!("this CPU has no {}", exception.name()));
    }
    let refused = |error: uc_error| format!("{error:?}");
    let interrupted = Interrupted::read(engine, pc).map_err(refused)?;
    if interrupted.is_user() {
        privilege::enter_kernel_mode(engine).map_err(refused)?;
    }
    let Some(gate) = gate(exception) else {
        let entry = vectors.get(Vector::Syscall)?;
        return enter_by_syscall(engine, &interrupted, entry).map_err(refused);
    };
    let error_code = if interrupted.is_user() { ERROR_CODE_USER } else { 0 };
    let error_code = gate.has_error_code.then_some(error_code);
    let (entry, rsp) = match interrupted.push(memory, vectors, &gate, error_code)? {
        Some(rsp) => (gate.entry, rsp),
        None => match interrupted.push(memory, vectors, &DOUBLE_FAULT, Some(0))? {
            Some(rsp) => (DOUBLE_FAULT.entry, rsp),
            None => return Err("the double fault's own frame does not fit either, which shuts a CPU down".to_owned()),
        },
    };
    enter_by_gate(engine, &interrupted, vectors.get(entry)?, rsp).map_err(refused)
}

/// What the CPU saves when it is interrupted.
struct Interrupted {
    ss: u64,
    rsp: u64,
    rflags: u64,
    cs: u64,
    rip: u64,
}

impl Interrupted {
    fn read(engine: &Unicorn<'_, Context<'_>>, pc: u64) -> Result<Self, uc_error> {
        let (ss, cs) = (engine.reg_read(R::SS)?, engine.reg_read(R::CS)?);
        Ok(Self { ss, rsp: engine.reg_read(R::RSP)?, rflags: engine.reg_read(R::RFLAGS)?, cs, rip: pc })
    }

    const fn is_user(&self) -> bool {
        self.cs & 3 != 0
    }

    /// Pushes the exception frame on the gate's stack, from a top aligned down to 16. Returns RSP; `None` if there is no room.
    ///
    /// ```text
    ///   top & !15 -> | SS         |
    ///                | RSP        |
    ///                | RFLAGS     |
    ///                | CS         |
    ///                | RIP        |
    ///         RSP -> | error code |   only if the gate has one
    /// ```
    fn push(
        &self,
        memory: &GuestMemory,
        vectors: &Vectors,
        gate: &Gate,
        error_code: Option<u64>,
    ) -> Result<Option<u64>, String> {
        let top_of = |word: Vector| {
            let top = memory.read_u64(vectors.get(word)?);
            top.ok_or_else(|| format!("the word with the {word:?} cannot be read"))
        };
        let mut top = match gate.ist {
            Some(word) => top_of(word)?,
            None if self.is_user() => top_of(Vector::EntryStack)?, // RSP0
            None => self.rsp,
        } & !15;
        for word in [self.ss, self.rsp, self.rflags, self.cs, self.rip].into_iter().chain(error_code) {
            top = top.wrapping_sub(8);
            if !memory.write_u64(top, word) {
                return Ok(None);
            }
        }
        Ok(Some(top))
    }
}

fn enter_by_gate(
    engine: &mut Unicorn<'_, Context<'_>>,
    interrupted: &Interrupted,
    entry: u64,
    rsp: u64,
) -> Result<(), uc_error> {
    if interrupted.is_user() {
        engine.reg_write(R::SS, 0_u64)?; // SDM volume 3, 7.14.4: a change of the CPL loads a null selector
    }
    engine.reg_write(R::CS, KERNEL_CS)?;
    engine.reg_write(R::RSP, rsp)?;
    engine.reg_write(R::RFLAGS, interrupted.rflags & !CLEARED)?;
    engine.reg_write(R::RIP, entry)
}

/// SDM volume 2, SYSCALL: RIP to RCX, RFLAGS to R11, selectors from STAR, flags cleared by FMASK, RIP from LSTAR. RSP stays.
fn enter_by_syscall(
    engine: &mut Unicorn<'_, Context<'_>>,
    interrupted: &Interrupted,
    entry: u64,
) -> Result<(), uc_error> {
    engine.reg_write(R::RCX, interrupted.rip)?;
    engine.reg_write(R::R11, interrupted.rflags)?;
    engine.reg_write(R::CS, KERNEL_CS)?;
    engine.reg_write(R::SS, KERNEL_SS)?;
    engine.reg_write(R::RFLAGS, interrupted.rflags & !CLEARED_BY_SYSCALL)?;
    engine.reg_write(R::RIP, entry.wrapping_sub(SYSCALL_SIZE))
}

/// Linux arch/x86: per-CPU variables are at GS (asm/percpu.h), and the running task is one of them.
pub(super) fn enter_kernel(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    /// RFLAGS.{IF} and the bit that is always 1.
    const RFLAGS: u64 = 1 << 9 | 1 << 1;
    let base = engine.get_data().vectors.get(Vector::PerCpu).unwrap_or(0);
    engine.reg_write(R::GS_BASE, base)?;
    engine.reg_write(R::RFLAGS, RFLAGS)
}

/// If this is the number of a system call: the pc that the CPU saves, and the pc at which user mode will resume.
pub(super) const fn syscall(number: u32, pc: u64) -> Option<(u64, u64)> {
    let next = pc.wrapping_add(SYSCALL_SIZE); // Unicorn's pc is still that of the instruction
    if number == privilege::SYSCALL { Some((next, next)) } else { None }
}

/// Loads the GDT that `iretq` needs, and the selectors of kernel code and data, if the guest has them.
pub(super) fn boot(engine: &mut Unicorn<'_, Context<'_>>, vectors: &Vectors) -> Result<(), uc_error> {
    privilege::watch_system_calls(engine)?;
    let Ok(table) = vectors.get(Vector::Gdt) else { return Ok(()) };
    const LIMIT: u32 = 6 * 8 - 1;
    // uc_x86_mmr: a selector, the base at byte 8, the limit at 16, flags.
    let mut register = [0_u8; 24];
    register[8..16].copy_from_slice(&table.to_le_bytes());
    register[16..20].copy_from_slice(&LIMIT.to_le_bytes());
    engine.reg_write_long(R::GDTR, &register)?;
    engine.reg_write(R::CS, KERNEL_CS)?;
    engine.reg_write(R::SS, KERNEL_SS)?;
    privilege::remember_kernel_mode(engine)
}

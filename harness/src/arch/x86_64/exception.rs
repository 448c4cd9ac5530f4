//! How an x86-64 CPU takes an interrupt or exception in long mode (SDM volume 3, 7.14: exception and interrupt handling in
//! 64-bit mode).

use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use crate::arch::{Exception, vector};
use crate::machine::{Context, Memory};

/// What [`take`] and [`boot`] need of a guest: the entries that its IDT would name, the word with the top of the NMI's stack
/// (its TSS would name it), and the GDT.
pub(super) const VECTORS: &[&str] = &["idt_irq", "idt_fault", "idt_nmi", "__stack_nmi_high", "__gdt"];

const KERNEL_CS: u64 = 0x10;
const KERNEL_SS: u64 = 0x18;
/// RFLAGS.{TF, IF, NT, RF, VM}: what an interrupt gate clears.
const CLEARED: u64 = 0x3_4300;

/// SS, RSP, RFLAGS, CS, RIP and perhaps an error code on a stack aligned down to 16; then the gate's RIP.
pub(super) fn take(
    engine: &mut Unicorn<'_, Context<'_>>,
    memory: &Memory,
    vectors: &[Option<u64>],
    exception: Exception,
    pc: u64,
) -> Result<(), String> {
    let index = match exception {
        Exception::Irq => 0,
        Exception::Fault => 1,
        Exception::Nmi => 2,
        Exception::Syscall => return Err("a system call does not go through the IDT".to_owned()),
        Exception::SError | Exception::Sdei => return Err(format!("this CPU has no {}", exception.name())),
    };
    let entry = vector(vectors, VECTORS, index)?;
    let stack = match exception {
        Exception::Nmi => {
            let word = vector(vectors, VECTORS, 3)?;
            Some(memory.read_u64(word).ok_or("the top of the NMI's stack cannot be read")?)
        }
        _ => None,
    };
    // #PF pushes an error code: 0, a read of a page that is not present, from kernel mode.
    let error_code = (exception == Exception::Fault).then_some(0);
    push_frame(engine, memory, entry, stack, error_code, pc).map_err(|error| format!("{error:?}"))
}

fn push_frame(
    engine: &mut Unicorn<'_, Context<'_>>,
    memory: &Memory,
    entry: u64,
    stack: Option<u64>,
    error_code: Option<u64>,
    pc: u64,
) -> Result<(), uc_error> {
    let rsp = engine.reg_read(RegisterX86::RSP)?;
    let rflags = engine.reg_read(RegisterX86::RFLAGS)?;
    let mut top = stack.unwrap_or(rsp) & !15;
    let frame = [KERNEL_SS, rsp, rflags, KERNEL_CS, pc];
    for word in frame.into_iter().chain(error_code) {
        top -= 8;
        if !memory.write_u64(top, word) {
            return Err(uc_error::WRITE_UNMAPPED); // a real CPU would take a double fault
        }
    }
    engine.reg_write(RegisterX86::RSP, top)?;
    engine.reg_write(RegisterX86::RFLAGS, rflags & !CLEARED)?;
    engine.reg_write(RegisterX86::RIP, entry)
}

/// Loads the GDT that `iretq` needs, and the selectors of kernel code and data, if the guest has them.
pub(super) fn boot(engine: &mut Unicorn<'_, Context<'_>>, vectors: &[Option<u64>]) -> Result<(), uc_error> {
    let Ok(table) = vector(vectors, VECTORS, 4) else { return Ok(()) };
    const LIMIT: u32 = 6 * 8 - 1;
    // uc_x86_mmr: a selector, the base at byte 8, the limit at 16, flags.
    let mut register = [0_u8; 24];
    register[8..16].copy_from_slice(&table.to_le_bytes());
    register[16..20].copy_from_slice(&LIMIT.to_le_bytes());
    engine.reg_write_long(RegisterX86::GDTR, &register)?;
    engine.reg_write(RegisterX86::CS, KERNEL_CS)?;
    engine.reg_write(RegisterX86::SS, KERNEL_SS)
}

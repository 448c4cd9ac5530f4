//! How programs of each CPU meet the Linux kernel: numbers of system calls, registers, the layout of what the kernel writes for them.

mod arm64;
mod riscv64;
mod x86_64;

use super::bytes::Bytes;
use super::hardware::Hardware;
use super::siginfo::{AltStack, Info};
use crate::cpu::{Cpu, Register};

/// The meeting of programs and kernel on one CPU.
#[derive(Debug)]
pub(super) struct UserAbi {
    /// The names of the system calls, by number; `-` where there is none. Separated by white space.
    calls: &'static str,
    /// The register of the system call's number.
    pub(super) number: Register,
    /// The registers of its arguments.
    pub(super) arguments: [Register; 6],
    /// The register of its result.
    pub(super) result: Register,
    /// The registers that a system call sets besides its result.
    pub(super) spoilt: &'static [Spoilt],
    /// Which argument of `clone` is the thread pointer, from 0; the other of 3 and 4 is the word that the child clears.
    pub(super) tls_argument: usize,
    /// Whether `struct sigaction` has a restorer.
    pub(super) has_restorer: bool,
    /// System calls of this CPU alone: those whose absence every C library knows, and those for which nothing need be done.
    pub(super) absent: &'static [&'static str],
    pub(super) idle: &'static [&'static str],
    /// What uname says the machine is.
    pub(super) machine: &'static str,
    /// `AT_PLATFORM`, where there is one.
    pub(super) platform: Option<&'static str>,
    /// `AT_HWCAP`: the least that every CPU of this kind has, so that no function is chosen that the emulator cannot run.
    pub(super) hwcap: u64,
    /// Its `struct stat`.
    pub(super) stat: fn(&Stat) -> Vec<u8>,
    /// Its signal frames.
    pub(super) signals: &'static dyn SignalAbi,
    /// The instructions that make the system call `rt_sigreturn`: what a vDSO has, for a C library that has none of its own. Empty
    /// where the C library always has. What returns to it looks for the byte before, so an instruction that does nothing comes first.
    pub(super) trampoline: &'static [u32],
    /// The symbol of these instructions in a vDSO.
    pub(super) trampoline_symbol: &'static str,
}

/// What a system call leaves in a register.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoilt {
    /// The address behind it.
    Pc(Register),
    /// The flags.
    Flags(Register),
}

impl UserAbi {
    /// The name of a system call.
    pub(super) fn call(&self, number: u64) -> Option<&'static str> {
        self.calls.split_ascii_whitespace().nth(usize::try_from(number).ok()?).filter(|name| *name != "-")
    }
}

/// What `struct stat` says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its number on its device.
    pub inode: u64,
    /// Its type and permissions.
    pub mode: u32,
    /// Its links.
    pub links: u32,
    /// Its size in bytes.
    pub size: u64,
}

/// The unit of `st_blocks`, and the best size of a read, in bytes.
const BLOCK: u64 = 512;
const READ_SIZE: u64 = 4096;

/// Where a signal is delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The signal.
    pub(super) info: Info,
    /// The handler.
    pub(super) handler: u64,
    /// Where the handler returns to.
    pub(super) restorer: u64,
    /// SP before anything is pushed: that of the interrupted code, or the top of the other stack.
    pub(super) sp: u64,
    /// Whether that is the interrupted code's own stack.
    pub(super) is_own_stack: bool,
    /// The mask that is set again when the handler returns.
    pub(super) mask: u64,
    /// The other stack, as the frame says.
    pub(super) alt: AltStack,
}

/// The signal frames of a CPU.
pub(super) trait SignalAbi: Sync + std::fmt::Debug {
    /// Pushes a frame and enters the handler. False if the stack cannot be written.
    fn push(&self, hardware: &mut dyn Hardware, frame: &Frame) -> bool;

    /// Restores the registers from the frame above SP, and returns the mask. `None` if it cannot be read.
    fn pop(&self, hardware: &mut dyn Hardware) -> Option<u64>;
}

/// The ABI of a CPU.
pub(super) fn of(cpu: &Cpu) -> &'static UserAbi {
    match cpu.name {
        "arm64" => &arm64::ABI,
        "riscv64" => &riscv64::ABI,
        _ => &x86_64::ABI,
    }
}

/// The table of numbers that newer CPUs share (Linux include/uapi/asm-generic/unistd.h).
const GENERIC_CALLS: &str = include_str!("calls-generic.txt");

/// `struct stat` of newer CPUs (Linux include/uapi/asm-generic/stat.h).
fn generic_stat(stat: &Stat) -> Vec<u8> {
    let mut bytes = Bytes::new(128);
    bytes.u64(8, stat.inode);
    bytes.u32(16, stat.mode);
    bytes.u32(20, stat.links);
    bytes.u64(48, stat.size);
    bytes.u32(56, READ_SIZE as u32);
    bytes.u64(64, stat.size.div_ceil(BLOCK));
    bytes.0
}

/// The size of `siginfo_t`, in bytes.
const SIGINFO: usize = 128;
/// In `ucontext_t` of newer CPUs: the alternate stack, the mask, and the registers, which lie behind room for a longer mask.
const UC_STACK: usize = 16;
const UC_SIGMASK: usize = 40;
const UC_MCONTEXT: usize = 176;

/// Writes what the signal frames of newer CPUs begin with: `siginfo_t`, and `ucontext_t` up to its registers.
fn put_head(bytes: &mut Bytes, frame: &Frame) {
    frame.info.put(bytes, 0);
    frame.alt.put(bytes, SIGINFO + UC_STACK);
    bytes.u64(SIGINFO + UC_SIGMASK, frame.mask);
}

/// Reads a signal frame.
fn read_frame(hardware: &dyn Hardware, address: u64, size: usize) -> Option<Bytes> {
    let mut bytes = Bytes::new(size);
    hardware.read(address, &mut bytes.0).then_some(bytes)
}

//! arm64: what `adrp` and the instruction behind it form.

use super::Place;
use crate::linux::KernelImage;

/// In the order in which a state is made.
pub(super) static PLACES: [Place; 9] = [
    ("init_task", init_task),
    ("init_stack", init_stack),
    ("irq_stack_ptr", irq_stack_ptr),
    ("overflow_stack", overflow_stack),
    ("handle_arch_irq", handle_arch_irq),
    ("__entry_task", entry_task),
    ("sdei_stack_normal_ptr", sdei_stack_normal_ptr),
    ("sdei_exit_mode", sdei_exit_mode),
    ("sdei_firmware_call", sdei_firmware_call),
];

/// arch/arm64/include/asm/memory.h: THREAD_SIZE (without KASAN) and OVERFLOW_STACK_SIZE.
const THREAD_SIZE: u64 = 16 << 10;
const OVERFLOW_STACK_SIZE: u64 = 4096;
/// More instructions than any function here has.
const MAX_INSTRUCTIONS: u64 = 0x200;
/// The slot of an interrupt in the kernel, and the size of a slot (Arm ARM, D1.3.1: exception vectors).
const IRQ_SLOT: u64 = 0x280;
const SLOT: u64 = 0x80;
const SP: u32 = 31;
/// `mrs x0, tpidr_el1`: this CPU's per-CPU offset.
const MRS_TPIDR_EL1: u32 = 0xd538_d080;
/// `cmp x2, #1`.
const CMP_X2_1: u32 = 0xf100_045f;

/// What the instruction does with the address that it completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// `add`: it is in this register.
    Add(u32),
    /// `ldr` into this register.
    Load(u32),
    /// `str` of this register.
    Store(u32),
}

/// An address that `adrp` and another instruction form.
#[derive(Debug, Clone, Copy)]
struct Formed {
    /// Where the `adrp` is, and the instruction that completes the address.
    page_at: u64,
    at: u64,
    address: u64,
    used: Use,
}

/// A function's instructions.
struct Code {
    start: u64,
    words: Vec<u32>,
}

impl Code {
    fn of(image: &KernelImage, function: &str) -> Result<Self, String> {
        let symbol = image.symbols.unique(function)?;
        Self::read(image, symbol.address, symbol.size.min(4 * MAX_INSTRUCTIONS))
    }

    fn read(image: &KernelImage, start: u64, size: u64) -> Result<Self, String> {
        let mut bytes = vec![0; size as usize & !3];
        image.read(start, &mut bytes).ok_or_else(|| format!("{start:#x} lies outside of the image"))?;
        let word = |word: &[u8]| word.try_into().map(u32::from_le_bytes).unwrap_or_default();
        Ok(Self { start, words: bytes.chunks_exact(4).map(word).collect() })
    }

    fn at(&self, address: u64) -> Option<u32> {
        self.words.get((address.checked_sub(self.start)? / 4) as usize).copied()
    }

    fn addresses(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        (self.start..).step_by(4).zip(self.words.iter().copied())
    }

    /// The addresses that the instructions form, in their order. A register that another instruction may have written in between holds
    /// no page any more; that an instruction only looks as if it wrote one costs an address, and is no mistake.
    fn formed(&self) -> Vec<Formed> {
        let mut pages = [None; 32];
        let mut found = Vec::new();
        for (at, word) in self.addresses() {
            let (target, base) = (word & 31, word >> 5 & 31);
            let page: Option<(u64, u64)> = pages[base as usize];
            let (used, offset) = match word >> 22 {
                0x244 => (Use::Add(target), u64::from(word >> 10 & 0xfff)),
                0x3e5 => (Use::Load(target), u64::from(word >> 10 & 0xfff) * 8),
                0x3e4 => (Use::Store(target), u64::from(word >> 10 & 0xfff) * 8),
                _ => (Use::Add(SP), u64::MAX),
            };
            if let Some((page_at, page)) = page.filter(|_| offset != u64::MAX) {
                found.push(Formed { page_at, at, address: page.wrapping_add(offset), used });
            }
            if word & 0x9f00_0000 == 0x9000_0000 {
                // The distance in pages has 21 bits, the lowest two apart.
                let pages_away =
                    i64::from((word >> 5 & 0x7_ffff) << 13).wrapping_shl(32) >> 45 << 2 | i64::from(word >> 29 & 3);
                pages[target as usize] = Some((at, (at & !0xfff).wrapping_add_signed(pages_away << 12)));
            } else if !matches!(used, Use::Store(_)) {
                pages[target as usize] = None;
            }
        }
        found
    }

    /// The words of this CPU that are loaded or stored by `adrp; add xA; mrs xB, tpidr_el1; ldr|str xT, [xA, xB]`.
    fn per_cpu(&self, is_store: bool) -> Vec<Formed> {
        let opcode = if is_store { 0xf820_6800 } else { 0xf860_6800 };
        let is_it = |formed: &&Formed| {
            let Use::Add(base) = formed.used else { return false };
            let (Some(offset), Some(access)) = (self.at(formed.at + 4), self.at(formed.at + 8)) else { return false };
            let index = offset & 31;
            offset & !31 == MRS_TPIDR_EL1 && access & !31 == opcode | index << 16 | base << 5
        };
        self.formed().iter().filter(is_it).copied().collect()
    }
}

fn only(found: &[Formed], what: impl FnOnce() -> String) -> Result<Formed, String> {
    match found {
        [only] => Ok(*only),
        _ => Err(format!("{} {} times, not once", what(), found.len())),
    }
}

/// `start_kernel` begins with `set_task_stack_end_magic(&init_task)` (init/main.c). The task is called "swapper", and its stack is a
/// place in the image.
fn init_task(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "start_kernel")?;
    let callee = image.symbols.address("set_task_stack_end_magic")?;
    let is_call = |(_, word): &(u64, u32)| word >> 26 == 0x25;
    let (at, word) = code.addresses().find(is_call).ok_or("start_kernel calls nothing")?;
    if at.wrapping_add_signed(i64::from((word << 6).cast_signed() >> 6) * 4) != callee {
        return Err("the first call of start_kernel is not that of set_task_stack_end_magic".to_owned());
    }
    let formed = code.formed();
    let argument = formed.iter().rfind(|formed| formed.at < at && formed.used == Use::Add(0));
    let task = argument.ok_or("start_kernel forms no address for set_task_stack_end_magic")?.address;
    let types = image.btf.as_ref().map_err(Clone::clone)?;
    let mut name = [0; 8];
    let comm = task.wrapping_add(types.offset("task_struct", "comm")?);
    if image.read(comm, &mut name).is_none() || name != *b"swapper\0" {
        return Err(format!("the task at {task:#x} is not called swapper"));
    }
    stack_of(image, task).map(|_| task)
}

fn stack_of(image: &KernelImage, task: u64) -> Result<u64, String> {
    let types = image.btf.as_ref().map_err(Clone::clone)?;
    let stack = image.u64_at(task.wrapping_add(types.offset("task_struct", "stack")?)).unwrap_or_default();
    let is_whole = stack.checked_add(THREAD_SIZE - 8).is_some_and(|last| image.u64_at(last).is_some());
    if !is_whole || !stack.is_multiple_of(THREAD_SIZE) {
        return Err(format!("init_task.stack, {stack:#x}, is no stack in the image"));
    }
    Ok(stack)
}

/// The stack of the first task (init/init_task.c).
fn init_stack(image: &KernelImage) -> Result<u64, String> {
    stack_of(image, init_task(image)?)
}

/// `call_on_irq_stack` loads it (arch/arm64/kernel/entry.S).
fn irq_stack_ptr(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "call_on_irq_stack")?;
    only(&code.per_cpu(false), || "call_on_irq_stack loads a word of this CPU".to_owned()).map(|it| it.address)
}

/// A vector moves SP to its top (arch/arm64/kernel/entry.S: kernel_ventry).
fn overflow_stack(image: &KernelImage) -> Result<u64, String> {
    let slot = image.symbols.address("vectors")? + IRQ_SLOT;
    let code = Code::read(image, slot, SLOT)?;
    let formed: Vec<_> = code.formed().into_iter().filter(|formed| formed.used == Use::Add(SP)).collect();
    let top = only(&formed, || "the vector of interrupts moves SP to an address".to_owned())?;
    let low = top.address.wrapping_sub(OVERFLOW_STACK_SIZE);
    let is_whole = image.u64_at(low).is_some() && low % 16 == 0;
    if is_whole { Ok(low) } else { Err(format!("the overflow stack, {low:#x}, is not in the image")) }
}

/// `set_handle_irq` compares it with `default_handle_irq`, and replaces it (kernel/irq/handle.c).
fn handle_arch_irq(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "set_handle_irq")?;
    let formed = code.formed();
    let stores: Vec<_> = formed.iter().filter(|formed| formed.used == Use::Store(0)).copied().collect();
    let place = only(&stores, || "set_handle_irq stores its argument".to_owned())?.address;
    if image.u64_at(place) != Some(image.symbols.address("default_handle_irq")?) {
        return Err(format!("the word at {place:#x}, which set_handle_irq sets, is not default_handle_irq"));
    }
    Ok(place)
}

/// `__switch_to` stores the next task there (arch/arm64/kernel/process.c: entry_task_switch).
fn entry_task(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "__switch_to")?;
    only(&code.per_cpu(true), || "__switch_to stores a word of this CPU".to_owned()).map(|it| it.address)
}

/// `__sdei_asm_handler` loads the stack for events of normal priority, that for critical ones, and the task, in this order
/// (arch/arm64/kernel/entry.S). A `cbnz` of the priority in front of the first leads to the second.
fn sdei_stack_normal_ptr(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "__sdei_asm_handler")?;
    let refuse = || "__sdei_asm_handler does not load a stack by priority, and then the task".to_owned();
    let loads = code.per_cpu(false);
    let [normal, critical, task] = loads.as_slice() else { return Err(refuse()) };
    let branch = code.at(normal.page_at.wrapping_sub(4)).ok_or_else(refuse)?;
    let target = (normal.page_at - 4).wrapping_add_signed(i64::from((branch << 8).cast_signed() >> 13) * 4);
    let is_cbnz = branch & 0x7f00_0000 == 0x3500_0000;
    if !is_cbnz || target != critical.page_at || task.address != entry_task(image)? {
        return Err(refuse());
    }
    Ok(normal.address)
}

/// `__sdei_asm_handler` compares it with SDEI_EXIT_SMC, which is 1 (arch/arm64/include/asm/sdei.h).
fn sdei_exit_mode(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "__sdei_asm_handler")?;
    let is_load = |formed: &&Formed| formed.used == Use::Load(2);
    let loads: Vec<_> = code.formed().iter().filter(is_load).copied().collect();
    let load = only(&loads, || "__sdei_asm_handler loads x2 from an address".to_owned())?;
    let is_compared = code.addresses().any(|(at, word)| at > load.at && word == CMP_X2_1);
    if is_compared { Ok(load.address) } else { Err("__sdei_asm_handler does not compare x2 with 1".to_owned()) }
}

/// `invoke_sdei_fn` calls what it points to, unless it is NULL (drivers/firmware/arm_sdei.c).
fn sdei_firmware_call(image: &KernelImage) -> Result<u64, String> {
    let code = Code::of(image, "invoke_sdei_fn")?;
    let is_called = |formed: &&Formed| {
        let Use::Load(register) = formed.used else { return false };
        let has = |opcode: u32, mask: u32| code.addresses().any(|(at, word)| at > formed.at && word & mask == opcode);
        // cbz xN; blr xN
        has(0xb400_0000 | register, 0xff00_001f) && has(0xd63f_0000 | register << 5, u32::MAX)
    };
    let loads: Vec<_> = code.formed().iter().filter(is_called).copied().collect();
    only(&loads, || "invoke_sdei_fn loads an address that it calls".to_owned()).map(|it| it.address)
}

//! The variables of the first CPU, and the count of preemption among them.

use super::super::edit::Edit;
use crate::Error;

/// The first CPU's variables.
pub(super) struct PerCpu {
    /// What %gs is: 0 where they are linked at the addresses at which they are loaded, else where a boot's first CPU has them.
    pub(super) base: u64,
}

impl PerCpu {
    /// Where they are in this image. Before Linux 6.15 they were linked from address 0 on (arch/x86/kernel/vmlinux.lds.S), and boot
    /// used them where they are loaded until it made a copy for each CPU.
    pub(super) fn of(edit: &Edit<'_>) -> Result<Self, Error> {
        let symbols = &edit.image().symbols;
        let is_linked_at_0 = symbols.absolute("__per_cpu_start") == Some(0);
        let per_cpu = Self { base: if is_linked_at_0 { edit.address("__per_cpu_load")? } else { 0 } };
        let (current, task) = (edit.u64_at(per_cpu.current_task(edit)?)?, edit.address("init_task")?);
        if current != task {
            return Err(edit.refuse(format!(
                "its per-CPU variables are not where the first CPU has them: the running task is {current:#x} there, not init_task"
            )));
        }
        Ok(per_cpu)
    }

    /// The address of a variable.
    pub(super) fn address(&self, edit: &Edit<'_>, name: &str) -> Result<u64, Error> {
        match edit.image().symbols.absolute(name) {
            Some(offset) => Ok(self.base.wrapping_add(offset)),
            None => edit.address(name),
        }
    }

    /// A variable of its own, or a member of `struct pcpu_hot`, which held the most used ones in between (6.12).
    fn hot(&self, edit: &Edit<'_>, name: &str, member: &str) -> Result<u64, Error> {
        if edit.image().symbols.has(name) {
            return self.address(edit, name);
        }
        Ok(self.address(edit, "pcpu_hot")? + edit.offset("pcpu_hot", member)?)
    }

    /// The running task.
    pub(super) fn current_task(&self, edit: &Edit<'_>) -> Result<u64, Error> {
        self.hot(edit, "current_task", "current_task")
    }

    /// The highest word of the IRQs' stack.
    pub(super) fn hardirq_stack(&self, edit: &Edit<'_>) -> Result<u64, Error> {
        self.hot(edit, "hardirq_stack_ptr", "hardirq_stack_ptr")
    }

    pub(super) fn preempt_count(&self, edit: &Edit<'_>) -> Result<PreemptCount, Error> {
        let word = self.hot(edit, "__preempt_count", "preempt_count")?;
        let Some(code) = function(edit, "preempt_schedule_notrace")? else {
            return Ok(PreemptCount { word, size: 4, need_resched: 0 });
        };
        let (start, code) = code;
        Ok(PreemptCount {
            word,
            size: size(edit, start, code, word.wrapping_sub(self.base))?,
            need_resched: mask(edit, code)?,
        })
    }
}

/// The count of preemption, and what asks for it.
pub(super) struct PreemptCount {
    /// Its address.
    pub(super) word: u64,
    /// Its size in bytes: 4, and 8 since Linux 7.3.
    pub(super) size: u64,
    /// TIF_NEED_RESCHED as a mask in a task's thread_info.flags; 0 in a kernel that cannot be preempted.
    pub(super) need_resched: u8,
}

impl PreemptCount {
    /// The byte with PREEMPT_NEED_RESCHED, its highest bit: no reschedule is wanted (arch/x86/include/asm/preempt.h).
    pub(super) const fn highest_byte(&self) -> u64 {
        self.word + self.size - 1
    }

    /// PREEMPT_ENABLED: 0, and no reschedule is wanted.
    pub(super) fn enable(&self, edit: &mut Edit<'_>) -> Result<(), Error> {
        let mut bytes = vec![0; self.size as usize];
        bytes.extend([0x80]);
        edit.set(self.word, &bytes[1..])
    }
}

/// A function's address and code.
fn function<'e>(edit: &'e Edit<'_>, name: &str) -> Result<Option<(u64, &'e [u8])>, Error> {
    if !edit.image().symbols.has(name) {
        return Ok(None);
    }
    let symbol = edit.image().symbol(name)?;
    let code = edit.read(symbol.address..symbol.address + symbol.size.min(0x100))?;
    Ok(Some((symbol.address, code)))
}

/// The size of the count: that of `inc %gs:count`, with which preempt_schedule_notrace switches preemption off. No type says it
/// everywhere.
fn size(edit: &Edit<'_>, start: u64, code: &[u8], count: u64) -> Result<u64, Error> {
    match increments(start, code, count)[..] {
        [size] => Ok(size),
        _ => Err(edit.refuse("preempt_schedule_notrace does not increment __preempt_count as expected")),
    }
}

/// The different sizes of `incl` and `incq` of the word at this offset from %gs, relative to rip or not.
fn increments(start: u64, code: &[u8], offset: u64) -> Vec<u64> {
    const INCREMENTS: [(&[u8], u64, bool); 4] = [
        (&[0x65, 0xff, 0x05], 4, true),
        (&[0x65, 0x48, 0xff, 0x05], 8, true),
        (&[0x65, 0xff, 0x04, 0x25], 4, false),
        (&[0x65, 0x48, 0xff, 0x04, 0x25], 8, false),
    ];
    let mut found = Vec::new();
    for (opcode, size, is_relative) in INCREMENTS {
        let length = opcode.len() + 4;
        let sites = code.windows(length).zip(start..).filter(|(window, _)| window.starts_with(opcode));
        found.extend(sites.filter_map(|(window, at)| {
            let operand = i32::from_le_bytes(window[opcode.len()..].try_into().ok()?);
            let next = if is_relative { at + length as u64 } else { 0 };
            (next.wrapping_add_signed(operand.into()) == offset).then_some(size)
        }));
    }
    found.dedup();
    found
}

/// TIF_NEED_RESCHED: for what preempt_schedule_notrace tests a task's flags before it goes round again. No type says it, and it has
/// moved (include/asm-generic/thread_info_tif.h).
fn mask(edit: &Edit<'_>, code: &[u8]) -> Result<u8, Error> {
    if edit.offset("task_struct", "thread_info.flags")? != 0 {
        return Err(edit.refuse("a task's structure does not begin with thread_info.flags"));
    }
    match tests_of_loops(code)[..] {
        [mask] => Ok(mask),
        _ => Err(edit.refuse("preempt_schedule_notrace does not test thread_info.flags as expected")),
    }
}

/// The masks of all `test $MASK,%al; jne BACK`, and of `testq $MASK,(REGISTER); jne BACK`.
fn tests_of_loops(code: &[u8]) -> Vec<u8> {
    let masks = (0..code.len()).filter_map(|at| match &code[at..] {
        [0xa8, mask, 0x75, 0x80..=0xff, ..] => Some(*mask),
        // The word is at the register itself: ModRM 4 and 5 mean something else.
        [0x48, 0xf7, 0..=3 | 6 | 7, mask, 0, 0, 0, 0x75, 0x80..=0xff, ..] => Some(*mask),
        _ => None,
    });
    masks.collect()
}

#[cfg(test)]
mod tests {
    use super::{increments, tests_of_loops};

    #[test]
    fn the_count_is_as_wide_as_its_increment() {
        let incl = [0x90, 0x65, 0xff, 0x05, 0xf8, 0x0f, 0, 0];
        assert_eq!(increments(0x1000, &incl, 0x2000), [4]);
        assert_eq!(increments(0x1000, &incl, 0x2008), [0; 0], "of another word");
        assert_eq!(increments(0x1000, &[0x65, 0x48, 0xff, 0x05, 0xf8, 0x0f, 0, 0], 0x2000), [8]);
        assert_eq!(
            increments(0x1000, &[0x65, 0xff, 0x04, 0x25, 0x08, 0x50, 0x03, 0], 0x35008),
            [4],
            "not relative to rip"
        );
    }

    #[test]
    fn the_mask_is_that_of_the_test_of_a_loop() {
        assert_eq!(tests_of_loops(&[0x48, 0x8b, 0x00, 0xa8, 0x10, 0x75, 0xd7]), [0x10]);
        assert_eq!(tests_of_loops(&[0xa8, 0x10, 0x75, 0x05]), [0; 0], "a jump ahead");
        assert_eq!(tests_of_loops(&[0x48, 0xf7, 0x00, 0x10, 0, 0, 0, 0x75, 0xd7]), [0x10]);
        assert_eq!(tests_of_loops(&[0x48, 0xf7, 0x04, 0x10, 0, 0, 0, 0x75, 0xd7]), [0; 0], "with an index");
    }
}

//! Threads: they run one after the other, in the order of their numbers, each for a fixed number of instructions.

use std::collections::BTreeMap;

use super::answer::{Answer, EAGAIN, EFAULT, EINVAL, ENOSYS, ETIMEDOUT};
use super::hardware::Hardware;
use super::siginfo::{AltStack, Info};
use super::{PID, Process};

const CLONE_VM: u64 = 0x100;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_THREAD: u64 = 0x1_0000;

const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_WAKE_BITSET: u64 = 10;
/// FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
const FUTEX_FLAGS: u64 = 128 | 256;

/// How many instructions a thread runs before the next one does, when several can: a prime, so that no loop keeps step with it.
pub const QUANTUM: u64 = 997;

/// A thread.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    /// Its number; that of the first is the process's.
    pub(super) id: u64,
    /// The word that becomes 0 when it ends.
    pub(super) clears: u64,
    /// The signals that it does not take.
    pub(super) mask: u64,
    /// The mask that `rt_sigsuspend` has replaced.
    pub(super) saved_mask: Option<u64>,
    /// Its stack for handlers.
    pub(super) alt_stack: AltStack,
    /// The signals that wait for it.
    pub(super) pending: Vec<Info>,
    /// What it waits for.
    waits: Option<Wait>,
}

/// What a thread waits for.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// A word at which others wake it; `None`: it sleeps.
    word: Option<u64>,
    /// The time at which it goes on in any case, in nanoseconds.
    until: Option<u64>,
}

/// The threads of a process.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    all: BTreeMap<u64, Thread>,
    current: Thread,
    next: u64,
}

impl Threads {
    pub(super) fn new() -> Self {
        let first = Thread {
            id: u64::from(PID),
            clears: 0,
            mask: 0,
            saved_mask: None,
            alt_stack: AltStack::default(),
            pending: Vec::new(),
            waits: None,
        };
        Self { all: BTreeMap::new(), current: first, next: u64::from(PID) + 1 }
    }

    /// The running thread.
    pub(super) const fn current(&self) -> &Thread {
        &self.current
    }

    pub(super) const fn current_mut(&mut self) -> &mut Thread {
        &mut self.current
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Thread> {
        if id == self.current.id { Some(&mut self.current) } else { self.all.get_mut(&id) }
    }

    /// Whether another thread could run.
    pub(super) fn has_others(&self) -> bool {
        self.all.values().any(|thread| thread.waits.is_none())
    }

    /// The thread that runs next, if it is another: the next number that waits for nothing. The time of the first that only waits for
    /// it comes, if all wait. `None` in the outer option: they wait for ever.
    fn next(&self, now: u64) -> Option<(u64, u64)> {
        let after = self.all.range(self.current.id..).chain(self.all.range(..self.current.id));
        let mut others = after.map(|(_, thread)| thread);
        if let Some(thread) = others.find(|thread| thread.waits.is_none()) {
            return Some((thread.id, now));
        }
        if self.current.waits.is_none() {
            return Some((self.current.id, now));
        }
        let all = self.all.values().chain([&self.current]);
        let timed = all.filter_map(|thread| Some((thread.waits?.until?, thread.id)));
        timed.min().map(|(until, id)| (id, until.max(now)))
    }
}

impl Process {
    /// The number of the running thread.
    #[must_use]
    pub const fn thread(&self) -> u64 {
        self.threads.current().id
    }

    /// Whether threads take turns.
    #[must_use]
    pub fn takes_turns(&self) -> bool {
        self.threads.has_others()
    }

    /// Lets the next thread run.
    ///
    /// # Errors
    ///
    /// Why none can.
    pub fn switch(&mut self, hardware: &mut dyn Hardware) -> Result<(), String> {
        let Some((id, now)) = self.threads.next(self.clock.now()) else {
            return Err("every thread waits for another, and none for a time".to_owned());
        };
        self.clock.jump(now);
        if id != self.threads.current.id {
            hardware.park(self.threads.current.id)?;
            hardware.resume(id)?;
            self.enter(id);
        }
        // Only a thread whose time has come is chosen while it waits.
        if let Some(wait) = self.threads.current.waits.take()
            && wait.word.is_some()
        {
            hardware.set_register(self.abi.result, (-(ETIMEDOUT as i64)).cast_unsigned());
        }
        Ok(())
    }

    fn enter(&mut self, id: u64) {
        let Some(next) = self.threads.all.remove(&id) else { return };
        let previous = std::mem::replace(&mut self.threads.current, next);
        self.threads.all.insert(previous.id, previous);
    }

    /// `clone`, for a thread. What would be another process cannot be had.
    pub(super) fn clone_thread(
        &mut self,
        hardware: &mut dyn Hardware,
        flags: u64,
        (stack, parent_word, child_word, tls): (u64, u64, u64, u64),
    ) -> Answer {
        if flags & (CLONE_VM | CLONE_THREAD) != CLONE_VM | CLONE_THREAD {
            return Answer::Stop("it makes another process (fork or vfork), which cannot be followed".to_owned());
        }
        let id = self.threads.next;
        self.threads.next += 1;
        if flags & CLONE_PARENT_SETTID != 0 && !hardware.write(parent_word, &(id as u32).to_le_bytes()) {
            return Answer::error(EFAULT);
        }
        if flags & CLONE_CHILD_SETTID != 0 && !hardware.write(child_word, &(id as u32).to_le_bytes()) {
            return Answer::error(EFAULT);
        }
        let parent = self.threads.current.id;
        let cpu = hardware.cpu();
        let (sp, own_tls) = (hardware.register(cpu.sp), hardware.thread_pointer());
        let result = hardware.register(self.abi.result);
        // The child's state: the parent's, with another stack and another result.
        hardware.set_register(self.abi.result, 0);
        if stack != 0 {
            hardware.set_register(cpu.sp, stack);
        }
        if flags & CLONE_SETTLS != 0 {
            hardware.set_thread_pointer(tls);
        }
        if let Err(reason) = hardware.park(id) {
            return Answer::Stop(reason);
        }
        hardware.set_register(self.abi.result, result);
        hardware.set_register(cpu.sp, sp);
        hardware.set_thread_pointer(own_tls);
        let clears = if flags & CLONE_CHILD_CLEARTID != 0 { child_word } else { 0 };
        let mask = self.threads.current.mask;
        let child = Thread { id, clears, mask, pending: Vec::new(), saved_mask: None, ..self.threads.current.clone() };
        self.threads.all.insert(id, Thread { alt_stack: AltStack::default(), waits: None, ..child });
        if let Some(range) = self.memory.area_of(stack.wrapping_sub(1)) {
            self.stacks.push(range);
        }
        debug_assert_eq!(parent, self.threads.current.id);
        Answer::value(id)
    }

    pub(super) fn clone3(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let mut words = [0_u64; 8];
        for (word, at) in words.iter_mut().zip((arguments[0]..).step_by(8)) {
            let Some(value) = hardware.read_u64(at) else { return Answer::error(EFAULT) };
            *word = value;
        }
        let [flags, _, child_word, parent_word, _, stack, size, tls] = words;
        let top = if stack == 0 { 0 } else { stack.wrapping_add(size) };
        self.clone_thread(hardware, flags, (top, parent_word, child_word, tls))
    }

    /// The running thread ends; the process with the last one.
    pub(super) fn exit_thread(&mut self, hardware: &mut dyn Hardware, status: u64) -> Answer {
        let clears = self.threads.current.clears;
        if clears != 0 && hardware.write(clears, &0_u32.to_le_bytes()) {
            self.wake(clears, 1);
        }
        let gone = self.threads.current.id;
        self.threads.current.waits = Some(Wait { word: None, until: None });
        if self.threads.all.is_empty() {
            return Answer::Exit(status);
        }
        let Some((id, now)) = self.threads.next(self.clock.now()) else {
            return Answer::Stop("the last thread that ran has ended, and every other waits for another".to_owned());
        };
        self.clock.jump(now);
        if let Err(reason) = hardware.resume(id) {
            return Answer::Stop(reason);
        }
        self.enter(id);
        self.threads.all.remove(&gone);
        if let Some(wait) = self.threads.current.waits.take()
            && wait.word.is_some()
        {
            hardware.set_register(self.abi.result, (-(ETIMEDOUT as i64)).cast_unsigned());
        }
        Answer::Restored
    }

    fn wake(&mut self, word: u64, most: u64) -> u64 {
        let waiting =
            self.threads.all.values_mut().filter(|thread| thread.waits.is_some_and(|it| it.word == Some(word)));
        let mut count = 0;
        for thread in waiting.take(most as usize) {
            thread.waits = None;
            count += 1;
        }
        count
    }

    pub(super) fn futex(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [word, operation, value, timeout, ..] = arguments;
        match operation & !FUTEX_FLAGS {
            FUTEX_WAKE | FUTEX_WAKE_BITSET => Answer::value(self.wake(word, value)),
            wait @ (FUTEX_WAIT | FUTEX_WAIT_BITSET) => {
                let Some(now) = hardware.read_u32(word) else { return Answer::error(EFAULT) };
                if now != value as u32 {
                    return Answer::error(EAGAIN);
                }
                let until = match timeout {
                    0 => None,
                    at => match self.read_time(hardware, at) {
                        // FUTEX_WAIT counts from now, FUTEX_WAIT_BITSET gives a time.
                        Some(time) if wait == FUTEX_WAIT => Some(self.clock.now().saturating_add(time)),
                        Some(time) => Some(self.clock.of(operation & 256 != 0, time)),
                        None => return Answer::error(EFAULT),
                    },
                };
                self.threads.current.waits = Some(Wait { word: Some(word), until });
                Answer::Wait
            }
            // Requeueing is an optimisation, and priorities need a scheduler that has them.
            other => Answer::Stop(format!("futex operation {other} is not emulated")),
        }
    }

    /// The running thread sleeps.
    pub(super) fn sleep(&mut self, nanoseconds: u64) -> Answer {
        let until = Some(self.clock.now().saturating_add(nanoseconds));
        self.threads.current.waits = Some(Wait { word: None, until });
        Answer::Wait
    }

    pub(super) fn set_tid_address(&mut self, word: u64) -> Answer {
        self.threads.current.clears = word;
        Answer::value(self.threads.current.id)
    }

    /// There are no restartable sequences: a C library does without.
    pub(super) const fn rseq() -> Answer {
        Answer::error(ENOSYS)
    }

    pub(super) fn sched_getaffinity(hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [_, size, mask, ..] = arguments;
        if size < 8 {
            return Answer::error(EINVAL);
        }
        // One CPU.
        if hardware.write(mask, &1_u64.to_le_bytes()) { Answer::value(8) } else { Answer::error(EFAULT) }
    }
}

//! Signals: what a process has asked for, and their delivery.

use super::abi::{self, Frame};
use super::answer::{Answer, EFAULT, EINVAL, ESRCH};
use super::bytes::Bytes;
use super::hardware::Hardware;
use super::siginfo::{AltStack, Info, SS_DISABLE, SS_ONSTACK};
use super::{Delivered, Process};

/// The number of signals (Linux include/uapi/asm-generic/signal.h).
pub(super) const SIGNALS: usize = 64;
const SIGKILL: u32 = 9;
const SIGSTOP: u32 = 19;
/// What does nothing where nobody asks for it: SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
const IGNORED: [u32; 4] = [17, 18, 23, 28];

const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;
const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
const SIG_BLOCK: u64 = 0;
const SIG_UNBLOCK: u64 = 1;
const SIG_SETMASK: u64 = 2;
/// Sent by `kill`, and by `tgkill` (Linux include/uapi/asm-generic/siginfo.h).
const SI_USER: i32 = 0;
const SI_TKILL: i32 = -6;

/// What happens at a signal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// The bit of a signal in a mask.
const fn bit(signal: u32) -> u64 {
    1 << ((signal.wrapping_sub(1)) % 64)
}

impl Process {
    /// Whether the process has a handler for this signal, and would take it now.
    #[must_use]
    pub fn would_take(&self, signal: u32) -> bool {
        let action = self.actions.get(signal as usize).copied().unwrap_or_default();
        action.handler > SIG_IGN && self.threads.current().mask & bit(signal) == 0
    }

    /// Whether the process has a handler for this signal.
    #[must_use]
    pub fn handles(&self, signal: u32) -> bool {
        self.actions.get(signal as usize).is_some_and(|action| action.handler > SIG_IGN)
    }

    /// A signal from outside arrives before the next instruction. `None` if it is blocked or ignored.
    ///
    /// # Errors
    ///
    /// Why it ends the process.
    pub fn interrupt(&mut self, hardware: &mut dyn Hardware, signal: u32) -> Result<Option<Delivered>, String> {
        let info = Info { signal, code: SI_USER, pid: 0 };
        if self.threads.current().mask & bit(signal) != 0 {
            self.threads.current_mut().pending.push(info);
            return Ok(None);
        }
        self.deliver(hardware, info)
    }

    /// Delivers the first of the signals that wait for the running thread.
    pub(super) fn deliver_pending(&mut self, hardware: &mut dyn Hardware) -> Result<Option<Delivered>, String> {
        loop {
            let thread = self.threads.current_mut();
            let mask = thread.mask;
            let Some(index) = thread.pending.iter().position(|info| mask & bit(info.signal) == 0) else {
                return Ok(None);
            };
            let info = thread.pending.remove(index);
            if let Some(delivered) = self.deliver(hardware, info)? {
                return Ok(Some(delivered));
            }
        }
    }

    fn deliver(&mut self, hardware: &mut dyn Hardware, info: Info) -> Result<Option<Delivered>, String> {
        let signal = info.signal;
        let action = self.actions.get(signal as usize).copied().unwrap_or_default();
        if action.handler == SIG_IGN || (action.handler == SIG_DFL && IGNORED.contains(&signal)) {
            return Ok(None);
        }
        if action.handler == SIG_DFL {
            return Err(format!("signal {signal}, for which it has no handler, ends the process"));
        }
        let cpu = hardware.cpu();
        let (pc, sp, fp) = (hardware.pc(), hardware.register(cpu.sp), hardware.register(cpu.abi.fp));
        let restorer = match (action.flags & SA_RESTORER != 0 && self.abi.has_restorer, self.trampoline) {
            (true, _) => action.restorer,
            (false, Some(address)) => address,
            (false, None) => {
                return Err(format!("signal {signal}: its handler has nowhere to return to (SA_RESTORER)"));
            }
        };
        let thread = self.threads.current_mut();
        let alt = thread.alt_stack;
        let switches = action.flags & SA_ONSTACK != 0 && alt.is_usable() && !alt.holds(sp);
        let mask = thread.saved_mask.take().unwrap_or(thread.mask);
        let frame = Frame {
            info,
            handler: action.handler,
            restorer,
            sp: if switches { alt.low + alt.size } else { sp },
            is_own_stack: !switches,
            mask,
            alt,
        };
        thread.mask |= action.mask | if action.flags & SA_NODEFER == 0 { bit(signal) } else { 0 };
        thread.mask &= !(bit(SIGKILL) | bit(SIGSTOP));
        if action.flags & SA_RESETHAND != 0 {
            self.actions[signal as usize] = Action::default();
        }
        if !self.abi.signals.push(hardware, &frame) {
            return Err(format!("signal {signal}: its frame does not fit on the stack at {:#x}", frame.sp));
        }
        Ok(Some(Delivered { pc, sp, fp, returns_to: restorer }))
    }

    pub(super) fn rt_sigreturn(&mut self, hardware: &mut dyn Hardware) -> Answer {
        match self.abi.signals.pop(hardware) {
            Some(mask) => {
                self.threads.current_mut().mask = mask;
                Answer::Restored
            }
            None => Answer::Stop("rt_sigreturn: there is no signal frame above SP".to_owned()),
        }
    }

    pub(super) fn rt_sigaction(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [signal, new, old, ..] = arguments;
        let Some(place) = self.actions.get_mut(signal as usize).filter(|_| signal > 0) else {
            return Answer::error(EINVAL);
        };
        let fields = if self.abi.has_restorer { 4 } else { 3 };
        let before = *place;
        if new != 0 {
            let mut bytes = Bytes::new(fields * 8);
            if !hardware.read(new, &mut bytes.0) {
                return Answer::error(EFAULT);
            }
            let restorer = if self.abi.has_restorer { bytes.get_u64(16) } else { 0 };
            let (handler, flags, mask) = (bytes.get_u64(0), bytes.get_u64(8), bytes.get_u64(fields * 8 - 8));
            *place = Action { handler, flags, restorer, mask };
        }
        if old != 0 {
            let mut bytes = Bytes::new(fields * 8);
            bytes.u64(0, before.handler);
            bytes.u64(8, before.flags);
            bytes.u64(16, before.restorer);
            bytes.u64(fields * 8 - 8, before.mask);
            if !hardware.write(old, &bytes.0) {
                return Answer::error(EFAULT);
            }
        }
        Answer::value(0)
    }

    pub(super) fn rt_sigprocmask(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [how, new, old, ..] = arguments;
        let thread = self.threads.current_mut();
        let before = thread.mask;
        if new != 0 {
            let Some(set) = hardware.read_u64(new) else { return Answer::error(EFAULT) };
            let mask = match how {
                SIG_BLOCK => before | set,
                SIG_UNBLOCK => before & !set,
                SIG_SETMASK => set,
                _ => return Answer::error(EINVAL),
            };
            thread.mask = mask & !(bit(SIGKILL) | bit(SIGSTOP));
        }
        if old != 0 && !hardware.write(old, &before.to_le_bytes()) {
            return Answer::error(EFAULT);
        }
        Answer::value(0)
    }

    pub(super) fn rt_sigsuspend(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let Some(mask) = hardware.read_u64(arguments[0]) else { return Answer::error(EFAULT) };
        let thread = self.threads.current_mut();
        thread.saved_mask = Some(thread.mask);
        thread.mask = mask;
        Answer::error(super::answer::EINTR)
    }

    pub(super) fn sigaltstack(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [new, old, ..] = arguments;
        let sp = hardware.register(hardware.cpu().sp);
        let thread = self.threads.current_mut();
        let mut before = Bytes::new(24);
        let in_use = if thread.alt_stack.holds(sp) { SS_ONSTACK } else { 0 };
        AltStack { flags: thread.alt_stack.flags | in_use, ..thread.alt_stack }.put(&mut before, 0);
        if new != 0 {
            let mut bytes = Bytes::new(24);
            if !hardware.read(new, &mut bytes.0) {
                return Answer::error(EFAULT);
            }
            let (low, flags, size) = (bytes.get_u64(0), bytes.get_u32(8), bytes.get_u64(16));
            if low.checked_add(size).is_none() {
                return Answer::error(EINVAL);
            }
            thread.alt_stack = AltStack { low, flags: flags & SS_DISABLE, size };
            if thread.alt_stack.is_usable() {
                self.stacks.push(low..low + size);
            }
        }
        if old != 0 && !hardware.write(old, &before.0) {
            return Answer::error(EFAULT);
        }
        Answer::value(0)
    }

    /// `kill`, `tkill` and `tgkill`: a process can reach only itself.
    pub(super) fn kill(&mut self, thread: Option<u64>, process: Option<u64>, signal: u64) -> Answer {
        if process.is_some_and(|process| process != u64::from(super::PID) && process != 0) {
            return Answer::error(ESRCH);
        }
        let current = self.threads.current().id;
        let Some(target) = self.threads.get_mut(thread.unwrap_or(current)) else { return Answer::error(ESRCH) };
        if signal as usize > SIGNALS {
            return Answer::error(EINVAL);
        }
        if signal != 0 {
            let code = if thread.is_some() { SI_TKILL } else { SI_USER };
            target.pending.push(Info { signal: signal as u32, code, pid: super::PID });
        }
        Answer::value(0)
    }
}

/// The trampoline's instructions, for a C library that has none.
pub(super) fn trampoline(abi: &abi::UserAbi) -> Vec<u8> {
    abi.trampoline.iter().flat_map(|word| word.to_le_bytes()).collect()
}

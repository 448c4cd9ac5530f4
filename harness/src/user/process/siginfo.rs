//! What a signal's frame says besides registers.

use super::bytes::Bytes;

pub(super) const SS_ONSTACK: u32 = 1;
pub(super) const SS_DISABLE: u32 = 2;

/// The stack for handlers that ask for it (`sigaltstack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AltStack {
    pub(super) low: u64,
    pub(super) flags: u32,
    pub(super) size: u64,
}

impl Default for AltStack {
    fn default() -> Self {
        Self { low: 0, flags: SS_DISABLE, size: 0 }
    }
}

impl AltStack {
    /// Whether there is one.
    pub(super) fn is_usable(&self) -> bool {
        self.flags & SS_DISABLE == 0 && self.size > 0
    }

    /// Whether SP is on it.
    pub(super) fn holds(&self, sp: u64) -> bool {
        self.is_usable() && sp > self.low && sp - self.low <= self.size
    }

    /// Writes it as `stack_t`.
    pub(super) fn put(&self, bytes: &mut Bytes, offset: usize) {
        bytes.u64(offset, self.low);
        bytes.u32(offset + 8, self.flags);
        bytes.u64(offset + 16, self.size);
    }
}

/// What `siginfo_t` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Info {
    /// The signal.
    pub(super) signal: u32,
    /// Who sent it.
    pub(super) code: i32,
    /// The sender.
    pub(super) pid: u32,
}

impl Info {
    /// Writes it as `siginfo_t`.
    pub(super) fn put(&self, bytes: &mut Bytes, offset: usize) {
        bytes.u32(offset, self.signal);
        bytes.u32(offset + 8, self.code.cast_unsigned());
        bytes.u32(offset + 16, self.pid);
    }
}

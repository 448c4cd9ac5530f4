//! What a system call comes to.

// Linux include/uapi/asm-generic/errno-base.h and errno.h.
pub(super) const ENOENT: u64 = 2;
pub(super) const ESRCH: u64 = 3;
pub(super) const EINTR: u64 = 4;
pub(super) const EBADF: u64 = 9;
pub(super) const EAGAIN: u64 = 11;
pub(super) const ENOMEM: u64 = 12;
pub(super) const EACCES: u64 = 13;
pub(super) const EFAULT: u64 = 14;
pub(super) const EEXIST: u64 = 17;
pub(super) const ENOTDIR: u64 = 20;
pub(super) const EISDIR: u64 = 21;
pub(super) const EINVAL: u64 = 22;
pub(super) const ENOTTY: u64 = 25;
pub(super) const ESPIPE: u64 = 29;
pub(super) const EROFS: u64 = 30;
pub(super) const ERANGE: u64 = 34;
pub(super) const ENOSYS: u64 = 38;
pub(super) const ELOOP: u64 = 40;
pub(super) const EAFNOSUPPORT: u64 = 97;
pub(super) const ETIMEDOUT: u64 = 110;

/// What a system call comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It returns this, or a negative error.
    Value(u64),
    /// All registers are what they should be: those of the interrupted code, or of another thread.
    Restored,
    /// The thread waits; it returns 0 unless the time runs out.
    Wait,
    /// The thread lets others run.
    Yield,
    /// The process ends with this status.
    Exit(u64),
    /// It cannot be emulated.
    Stop(String),
}

impl Answer {
    pub(super) const fn value(value: u64) -> Self {
        Self::Value(value)
    }

    pub(super) const fn error(number: u64) -> Self {
        Self::Value(number.wrapping_neg())
    }
}

impl From<Result<u64, u64>> for Answer {
    fn from(result: Result<u64, u64>) -> Self {
        result.map_or_else(Self::error, Self::Value)
    }
}

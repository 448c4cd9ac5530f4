//! Time: it passes when somebody looks, and when everybody sleeps. So it is the same in every run.

use super::Process;
use super::answer::{Answer, EFAULT, EINVAL};
use super::hardware::Hardware;

/// What the clock shows when a process begins: 2024-01-01 00:00:00 UTC, in nanoseconds since 1970.
const REAL_START: u64 = 1_704_067_200 * SECOND;
/// What the clock since boot shows then.
const START: u64 = 1000 * SECOND;
/// How much time passes from one look to the next.
const TICK: u64 = 1000;
const SECOND: u64 = 1_000_000_000;
/// CLOCK_REALTIME, _COARSE, TAI.
const REAL: [u64; 3] = [0, 5, 11];
/// The clocks that Linux has (include/uapi/linux/time.h).
const CLOCKS: u64 = 12;

/// The time, in nanoseconds since boot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(u64);

impl Clock {
    pub(super) const fn new() -> Self {
        Self(START)
    }

    pub(super) const fn now(self) -> u64 {
        self.0
    }

    /// Nobody does anything before this time.
    pub(super) fn jump(&mut self, to: u64) {
        self.0 = self.0.max(to);
    }

    /// A time of day, or one since boot, as one since boot.
    pub(super) const fn of(self, is_real: bool, time: u64) -> u64 {
        if is_real { time.saturating_sub(REAL_START - START) } else { time }
    }

    /// Looks at a clock.
    fn look(&mut self, is_real: bool) -> u64 {
        self.0 += TICK;
        if is_real { self.0 + (REAL_START - START) } else { self.0 }
    }
}

/// A time as seconds and the rest of it, in these units.
fn pair(nanoseconds: u64, unit: u64) -> Vec<u8> {
    [nanoseconds / SECOND, nanoseconds % SECOND / unit].iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Process {
    /// Reads a `struct timespec`.
    pub(super) fn read_time(&self, hardware: &dyn Hardware, at: u64) -> Option<u64> {
        let (seconds, rest) = (hardware.read_u64(at)?, hardware.read_u64(at.wrapping_add(8))?);
        Some(seconds.saturating_mul(SECOND).saturating_add(rest))
    }

    pub(super) fn clock_gettime(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [clock, at, ..] = arguments;
        // Clocks of other processes and threads have large numbers: they show as much time as the process's own.
        if clock >= CLOCKS && clock as i32 >= 0 {
            return Answer::error(EINVAL);
        }
        let now = self.clock.look(REAL.contains(&clock));
        if hardware.write(at, &pair(now, 1)) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    pub(super) fn clock_getres(hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let at = arguments[1];
        if at == 0 || hardware.write(at, &pair(1, 1)) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    pub(super) fn gettimeofday(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let now = self.clock.look(true);
        let at = arguments[0];
        if at == 0 || hardware.write(at, &pair(now, 1000)) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    pub(super) fn time(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let now = self.clock.look(true) / SECOND;
        let at = arguments[0];
        if at == 0 || hardware.write(at, &now.to_le_bytes()) { Answer::value(now) } else { Answer::error(EFAULT) }
    }

    /// `nanosleep`, and `clock_nanosleep` with its clock and flags.
    pub(super) fn nanosleep(&mut self, hardware: &mut dyn Hardware, at: u64, clock: u64, is_absolute: bool) -> Answer {
        let Some(time) = self.read_time(hardware, at) else { return Answer::error(EFAULT) };
        let nanoseconds = if is_absolute {
            self.clock.of(REAL.contains(&clock), time).saturating_sub(self.clock.now())
        } else {
            time
        };
        self.sleep(nanoseconds)
    }
}

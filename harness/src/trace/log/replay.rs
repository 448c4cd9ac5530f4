//! A log as a run: shows an observer again what the log recorded.

use std::time::Instant;

use super::decode::{Bytes, Log};
use super::encode::EXCEPTIONS;
use super::event;
use crate::Error;
use crate::cpu::{Cpu, Regs};
use crate::guest::Guest;
use crate::trace::{Action, Ended, Memory, Observer, Point, Previous, RegisterSet, Registers, Run};

/// The memory of a replayed guest.
struct Replayed {
    /// (address, bytes), writable regions first, because stacks are read most.
    regions: Vec<(u64, Vec<u8>)>,
}

impl Replayed {
    /// The region that holds `size` bytes at an address, and their offset in it.
    fn place(&self, address: u64, size: usize) -> Option<(usize, usize)> {
        self.regions.iter().enumerate().find_map(|(index, (start, bytes))| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            (offset <= bytes.len().checked_sub(size)?).then_some((index, offset))
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some((region, offset)) = self.place(address, bytes.len()) else { return false };
        self.regions[region].1[offset..offset + bytes.len()].copy_from_slice(bytes);
        true
    }
}

impl Memory for Replayed {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Some((region, offset)) = self.place(address, bytes.len()) else { return false };
        bytes.copy_from_slice(&self.regions[region].1[offset..offset + bytes.len()]);
        true
    }

    fn read_u64(&self, address: u64) -> Option<u64> {
        let (region, offset) = self.place(address, 8)?;
        self.regions[region].1[offset..].first_chunk().map(|word| u64::from_le_bytes(*word))
    }
}

/// The registers of a replayed CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    pc: u64,
    size: u32,
    is_user: bool,
    status: u64,
    values: Vec<u64>,
}

impl Registers for State {
    fn read(&self, set: &RegisterSet, values: &mut [u64]) {
        for (value, register) in values.iter_mut().zip(set.registers()) {
            *value = self.values[usize::from(register.0)];
        }
    }

    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs) {
        for register in set.registers() {
            regs.set(*register, self.values[usize::from(register.0)]);
        }
    }

    fn is_user(&self) -> bool {
        self.is_user
    }

    fn status(&self) -> u64 {
        self.status
    }
}

/// A recorded run that can be observed again, from its start or from any point.
pub struct Replay<'l> {
    log: &'l Log,
    guest: &'l Guest,
    events: Bytes<'l>,
    memory: Replayed,
    state: State,
    store: u64,
    points: u64,
    previous: Option<Previous>,
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Replay")
            .field("points", &self.points)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// The next event of a log.
enum Next<'l> {
    Store { address: u64, bytes: &'l [u8], by_hardware: bool },
    Point,
    Fault,
    Action(Action),
    End(Ended),
}

impl<'l> Replay<'l> {
    /// The log of a run of this guest, from its start.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] when the guest lacks one of its pages.
    pub fn new(log: &'l Log, guest: &'l Guest) -> Result<Self, Error> {
        let mut segments: Vec<_> = guest.segments.iter().collect();
        segments.sort_by_key(|segment| !segment.writable);
        let regions = segments.iter().map(|segment| (segment.address, segment.data.clone())).collect();
        let mut memory = Replayed { regions };
        let page = log.pages.iter().find(|(address, bytes)| !memory.write(*address, bytes));
        if let Some((address, _)) = page {
            return Err(failed(log, 0, &format!("the guest has no page at {address:#x}")));
        }
        let cpu: &Cpu = guest.cpu;
        let values = vec![0; usize::from(cpu.registers)];
        let state = State { pc: 0, size: 0, is_user: false, status: 0, values };
        let events = Bytes { all: &log.events, at: 0 };
        Ok(Self { log, guest, events, memory, state, store: 0, points: 0, previous: None })
    }

    /// Skips forward until `points` points have been passed, from the last keyframe before. The next point shown is the one
    /// after.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] when the log is malformed or has fewer points.
    pub fn skip_to(&mut self, points: u64) -> Result<(), Error> {
        let ahead = self.log.keyframes.iter().filter(|frame| frame.points <= points && frame.points > self.points);
        if let Some(frame) = ahead.max_by_key(|frame| frame.points) {
            let has_pages = frame.pages.iter().all(|(address, bytes)| self.memory.write(*address, bytes));
            if !has_pages || frame.values.len() != self.state.values.len() || frame.event > self.events.all.len() {
                return Err(failed(self.log, self.events.at, "a keyframe does not fit the guest"));
            }
            (self.points, self.events.at, self.store) = (frame.points, frame.event, frame.store);
            let (is_user, status, values) = (frame.is_user, frame.status, frame.values.clone());
            self.state = State { pc: frame.pc, size: 0, is_user, status, values };
        }
        while self.points < points {
            match self.next()? {
                Next::Store { address, bytes, .. } => {
                    self.memory.write(address, bytes);
                }
                Next::Point => self.points += 1,
                Next::Fault | Next::Action(_) => {}
                Next::End(_) => return Err(failed(self.log, self.events.at, "it has fewer points")),
            }
        }
        Ok(())
    }

    /// The pc and all registers by DWARF number, at the point last shown.
    #[must_use]
    pub fn registers(&self) -> (u64, &[u64]) {
        (self.state.pc, &self.state.values)
    }

    fn next(&mut self) -> Result<Next<'l>, Error> {
        let at = self.events.at;
        self.decode().map_err(|reason| failed(self.log, at, &reason))
    }

    fn decode(&mut self) -> Result<Next<'l>, String> {
        let kind = self.events.byte()?;
        Ok(match kind {
            event::STORE | event::HARDWARE_STORE => {
                let address = self.events.relative(self.store)?;
                self.store = address;
                Next::Store { address, bytes: self.events.array()?, by_hardware: kind == event::HARDWARE_STORE }
            }
            event::POINT => {
                let (pc, size) = (self.state.pc, self.state.size);
                self.previous = (self.points > 0).then_some(Previous::Retired { pc, size });
                self.state()?;
                Next::Point
            }
            event::DELIVERED => {
                let (pc, sp, from_user) = (self.events.number()?, self.events.number()?, self.events.byte()? != 0);
                self.previous = Some(Previous::Delivered { pc, sp, from_user, signal: None });
                self.state()?;
                Next::Point
            }
            event::FAULT => {
                let (pc, size) = (self.state.pc, self.state.size);
                self.previous = Some(Previous::Retired { pc, size });
                self.state()?;
                Next::Fault
            }
            event::ACTION_STOP => Next::Action(Action::Stop),
            event::ACTION_DELIVER => {
                let code = usize::try_from(self.events.number()?).ok();
                let exception = code.and_then(|code| EXCEPTIONS.get(code)).copied();
                let exception = exception.ok_or_else(|| "an exception has an unknown number".to_owned())?;
                let has_write = self.events.number()? != 0;
                let write = if has_write { Some((self.events.number()?, self.events.number()?)) } else { None };
                Next::Action(Action::Deliver { exception, write })
            }
            event::END => {
                let (executed, why) = (self.events.number()?, self.events.number()?);
                let (complete, interrupted) = (why == event::COMPLETE, why == event::INTERRUPTED);
                if !complete && !interrupted && why != event::STOPPED {
                    return Err(format!("{why} is no reason for its end"));
                }
                Next::End(Ended { executed, complete, interrupted, ran_for: std::time::Duration::ZERO })
            }
            _ => return Err(format!("{kind} is not an event")),
        })
    }

    fn state(&mut self) -> Result<(), String> {
        let state = &mut self.state;
        state.pc = self.events.relative(state.pc)?;
        state.size = u32::try_from(self.events.number()?).map_err(|_| "an instruction has an impossible size")?;
        let flags = self.events.number()?;
        state.is_user = flags & 2 != 0;
        if flags & 1 != 0 {
            state.status = self.events.number()?;
        }
        let mut changed = self.events.number()?;
        while changed != 0 {
            let index = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let value = state.values.get_mut(index).ok_or_else(|| format!("the CPU has no register {index}"))?;
            *value = self.events.relative(*value)?;
        }
        Ok(())
    }

    /// Shows the current point and returns the observer's action.
    fn show(&mut self, observer: &mut dyn Observer) -> Action {
        let Self { state, memory, previous, .. } = self;
        let at = Point { pc: state.pc, size: state.size, previous: *previous, thread: 0, regs: state, memory };
        observer.point(&at)
    }

    /// Checks that the observer acts as it did when the log was recorded.
    fn expect(&mut self, action: Action) -> Result<(), Error> {
        let at = self.events.at;
        let is_action =
            self.events.all.get(at).is_some_and(|it| matches!(*it, event::ACTION_STOP | event::ACTION_DELIVER));
        let recorded = match is_action {
            true => match self.next()? {
                Next::Action(action) => action,
                _ => Action::Continue,
            },
            false => Action::Continue,
        };
        // The observer may stop at any point.
        if recorded == action || action == Action::Stop {
            return Ok(());
        }
        let what = format!("at point {} the recorded action is {recorded:?}, but now it is {action:?}", self.points);
        Err(failed(self.log, at, &format!("{what}: another version made the log, or its scenario was changed")))
    }
}

impl Run for Replay<'_> {
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error> {
        let start = Instant::now();
        let wants_stores = observer.wants_stores();
        loop {
            match self.next()? {
                Next::Store { address, bytes, by_hardware } => {
                    match by_hardware {
                        true => observer.hardware_stored(address, bytes.len()),
                        false if wants_stores => observer.stored(address, bytes.len()),
                        false => {}
                    }
                    if !self.memory.write(address, bytes) {
                        let reason = format!("the guest has no memory at {address:#x}");
                        return Err(failed(self.log, self.events.at, &reason));
                    }
                }
                Next::Point => {
                    let action = self.show(observer);
                    self.points += 1;
                    self.expect(action)?;
                    if action == Action::Stop {
                        let (executed, ran_for) = (self.points, start.elapsed());
                        return Ok(Ended { executed, complete: false, interrupted: false, ran_for });
                    }
                }
                Next::Fault => {
                    let Self { state, memory, previous, .. } = self;
                    let at =
                        Point { pc: state.pc, size: state.size, previous: *previous, thread: 0, regs: state, memory };
                    observer.faulted(&at);
                }
                Next::Action(_) => return Err(failed(self.log, self.events.at, "an action follows no point")),
                Next::End(ended) => return Ok(Ended { ran_for: start.elapsed(), ..ended }),
            }
        }
    }

    fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    fn again(&self) -> Option<Box<dyn Run + '_>> {
        Self::new(self.log, self.guest).ok().map(|replay| Box::new(replay) as _)
    }
}

fn failed(log: &Log, at: usize, reason: &str) -> Error {
    Error::Log { run: log.head.run(), at, reason: reason.to_owned() }
}

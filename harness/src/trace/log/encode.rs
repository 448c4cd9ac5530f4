//! Records a run while an observer watches it.

use std::collections::BTreeSet;

use super::{Head, KEYFRAME_POINTS, MAX_EVENTS, event};
use crate::Error;
use crate::cpu::{Cpu, Exception};
use crate::guest::{PAGE, Program};
use crate::progress::Progress;
use crate::trace::{Action, Ended, Memory, Observer, Point, Previous, RegisterSet, Run};

/// Appends the encoding of an unsigned number (LEB128).
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the difference of two numbers (zigzag).
fn difference(out: &mut Vec<u8>, value: u64, from: u64) {
    let difference = value.wrapping_sub(from).cast_signed();
    number(out, (difference << 1 ^ difference >> 63).cast_unsigned());
}

/// Appends a byte array.
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The numbers of exceptions in logs.
pub(super) const EXCEPTIONS: [Exception; 7] = [
    Exception::Irq,
    Exception::Nmi,
    Exception::Fault,
    Exception::Debug,
    Exception::Syscall,
    Exception::SError,
    Exception::Sdei,
];

/// A store that has been announced; its bytes are read at the next point.
#[derive(Debug, Clone, Copy)]
struct Store {
    address: u64,
    size: usize,
    by_hardware: bool,
}

/// Collects the log of one run.
#[derive(Debug)]
pub struct LogWriter {
    /// Which run, for messages.
    run: String,
    head: Vec<u8>,
    events: Vec<u8>,
    keyframes: Vec<u8>,
    keyframe_count: u64,
    registers: RegisterSet,
    stores: Vec<Store>,
    /// Pages that have been written, by their addresses.
    dirty: BTreeSet<u64>,
    points: u64,
    last: Last,
}

/// The state that the next event is encoded relative to.
#[derive(Debug, Clone, Default)]
struct Last {
    pc: u64,
    store: u64,
    is_user: bool,
    status: u64,
    values: Vec<u64>,
}

impl LogWriter {
    /// A log of a run that has not begun. `undisturbed` are the lasting words after a run without exceptions; `memory` is the
    /// guest's initial memory.
    #[must_use]
    pub fn new(head: &Head, program: &Program, undisturbed: &[u64], memory: &dyn Memory) -> Self {
        let mut out = Vec::new();
        for text in [&head.scenario, &head.source, &head.variant, &head.interrupt, &head.guest] {
            bytes(&mut out, text.as_bytes());
        }
        bytes(&mut out, &head.file);
        number(&mut out, undisturbed.len() as u64);
        out.extend(undisturbed.iter().flat_map(|word| word.to_le_bytes()));
        let writable = program.guest.segments.iter().filter(|segment| segment.writable);
        let pages: Vec<u64> =
            writable.flat_map(|segment| (segment.address..segment.end()).step_by(PAGE as usize)).collect();
        put_pages(&mut out, &pages, memory);
        let cpu: &Cpu = program.guest.cpu;
        let registers = RegisterSet::all(cpu);
        let values = vec![0; registers.registers().len()];
        Self {
            run: head.run(),
            head: out,
            events: Vec::new(),
            keyframes: Vec::new(),
            keyframe_count: 0,
            registers,
            stores: Vec::new(),
            dirty: BTreeSet::new(),
            points: 0,
            last: Last { values, ..Last::default() },
        }
    }

    /// The bytes of the log, once the run is over.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut out = self.head;
        bytes(&mut out, &self.events);
        number(&mut out, self.keyframe_count);
        out.extend(self.keyframes);
        out
    }

    /// Whether it holds as much as a log may. Keyframes hold pages, and may be the larger part.
    const fn is_full(&self) -> bool {
        self.events.len().saturating_add(self.keyframes.len()) > MAX_EVENTS
    }

    /// Writes the stores since the last event, with the bytes that they left in memory.
    fn stores(&mut self, memory: &dyn Memory) {
        for Store { address, size, by_hardware } in std::mem::take(&mut self.stores) {
            let mut stored = vec![0; size];
            if !memory.read(address, &mut stored) {
                continue; // the access faulted
            }
            self.events.push(if by_hardware { event::HARDWARE_STORE } else { event::STORE });
            difference(&mut self.events, address, self.last.store);
            bytes(&mut self.events, &stored);
            self.last.store = address;
            self.dirty.extend((address & !(PAGE - 1)..=(address + size as u64 - 1)).step_by(PAGE as usize));
        }
    }

    /// Writes the state of the machine, relative to the point before.
    fn state(&mut self, at: &Point<'_>) {
        let (is_user, status) = (at.regs.is_user(), at.regs.status());
        difference(&mut self.events, at.pc, self.last.pc);
        number(&mut self.events, u64::from(at.size));
        let changed = (is_user, status) != (self.last.is_user, self.last.status);
        number(&mut self.events, u64::from(changed) | u64::from(is_user) << 1);
        if changed {
            number(&mut self.events, status);
        }
        let mut values = vec![0; self.last.values.len()];
        at.regs.read(&self.registers, &mut values);
        let differs = |(_, (now, before)): &(usize, (&u64, &u64))| now != before;
        let changes: Vec<usize> =
            values.iter().zip(&self.last.values).enumerate().filter(differs).map(|(index, _)| index).collect();
        number(&mut self.events, changes.iter().fold(0, |mask, index| mask | 1 << index));
        for index in changes {
            difference(&mut self.events, values[index], self.last.values[index]);
        }
        let store = self.last.store;
        self.last = Last { pc: at.pc, store, is_user, status, values };
    }

    fn point(&mut self, at: &Point<'_>) {
        self.stores(at.memory);
        if self.points > 0 && self.points.is_multiple_of(KEYFRAME_POINTS) {
            self.keyframe(at.memory);
        }
        self.points += 1;
        if let Some(Previous::Delivered { pc, sp, from_user, .. }) = at.previous {
            self.events.push(event::DELIVERED);
            number(&mut self.events, pc);
            number(&mut self.events, sp);
            self.events.push(u8::from(from_user));
        } else {
            self.events.push(event::POINT);
        }
        self.state(at);
    }

    /// Writes the whole state before the next event.
    fn keyframe(&mut self, memory: &dyn Memory) {
        let Last { pc, store, is_user, status, values } = &self.last;
        let out = &mut self.keyframes;
        for value in [self.points, self.events.len() as u64, *pc, *store, u64::from(*is_user), *status] {
            number(out, value);
        }
        number(out, values.len() as u64);
        for value in values {
            number(out, *value);
        }
        let pages: Vec<u64> = self.dirty.iter().copied().collect();
        put_pages(out, &pages, memory);
        self.keyframe_count += 1;
    }

    fn action(&mut self, action: Action) {
        match action {
            Action::Continue => {}
            Action::Stop => self.events.push(event::ACTION_STOP),
            Action::Deliver { exception, write } => {
                self.events.push(event::ACTION_DELIVER);
                let code = EXCEPTIONS.iter().position(|known| *known == exception).unwrap_or_default();
                number(&mut self.events, code as u64);
                number(&mut self.events, u64::from(write.is_some()));
                for word in write.into_iter().flat_map(|(address, value)| [address, value]) {
                    number(&mut self.events, word);
                }
            }
        }
    }

    fn end(&mut self, ended: &Ended, memory: &dyn Memory) {
        self.stores(memory);
        self.events.push(event::END);
        number(&mut self.events, ended.executed);
        let why = match ended {
            Ended { interrupted: true, .. } => event::INTERRUPTED,
            Ended { complete: true, .. } => event::COMPLETE,
            Ended { complete: false, .. } => event::STOPPED,
        };
        number(&mut self.events, why);
    }
}

/// Writes pages as a count and (address, bytes), without those that are not mapped.
fn put_pages(out: &mut Vec<u8>, pages: &[u64], memory: &dyn Memory) {
    let mut page = [0; PAGE as usize];
    let mapped: Vec<u64> = pages.iter().copied().filter(|address| memory.read(*address, &mut page)).collect();
    number(out, mapped.len() as u64);
    for address in mapped {
        memory.read(address, &mut page);
        number(out, address);
        out.extend_from_slice(&page);
    }
}

/// A run that is recorded while it is observed.
pub struct Logged<'a> {
    run: &'a mut dyn Run,
    writer: &'a mut LogWriter,
}

impl std::fmt::Debug for Logged<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Logged").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl<'a> Logged<'a> {
    /// The run, recorded by this writer.
    #[must_use]
    pub fn new(run: &'a mut dyn Run, writer: &'a mut LogWriter) -> Self {
        Self { run, writer }
    }
}

impl Run for Logged<'_> {
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error> {
        let mut scribe = Scribe { writer: self.writer, observer };
        let ended = self.run.drive(&mut scribe)?;
        if self.writer.is_full() {
            let reason = format!("its log needs more than {MAX_EVENTS:#x} bytes: give the scenario a smaller budget");
            return Err(Error::Log { run: self.writer.run.clone(), at: self.writer.events.len(), reason });
        }
        self.writer.end(&ended, self.run.memory());
        Ok(ended)
    }

    fn memory(&self) -> &dyn Memory {
        self.run.memory()
    }

    fn again(&self) -> Option<Box<dyn Run + '_>> {
        self.run.again()
    }

    fn progress(&self) -> Option<Progress> {
        self.run.progress()
    }
}

/// Records every event and passes it on to the observer.
struct Scribe<'a> {
    writer: &'a mut LogWriter,
    observer: &'a mut dyn Observer,
}

impl Observer for Scribe<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.writer.point(at);
        if self.writer.is_full() {
            return Action::Stop;
        }
        let action = self.observer.point(at);
        self.writer.action(action);
        action
    }

    fn faulted(&mut self, at: &Point<'_>) {
        self.writer.stores(at.memory);
        self.writer.events.push(event::FAULT);
        self.writer.state(at);
        self.observer.faulted(at);
    }

    fn wants_stores(&self) -> bool {
        true
    }

    fn stored(&mut self, address: u64, size: usize) {
        self.writer.stores.push(Store { address, size, by_hardware: false });
        if self.observer.wants_stores() {
            self.observer.stored(address, size);
        }
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.writer.stores.push(Store { address, size, by_hardware: true });
        self.observer.hardware_stored(address, size);
    }
}

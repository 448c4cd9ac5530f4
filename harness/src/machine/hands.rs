//! What an emulated kernel does to the machine, through Unicorn.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use unicorn_engine::{Unicorn, uc_reg_read, uc_reg_write};

use super::answered::Answers;
use super::core::Core;
use super::{Context, GuestMemory};
use crate::cpu::{Cpu, Register};
use crate::trace::{Memory as _, Previous};
use crate::user::process::{Floats, Hardware, Permission};

/// The threads that do not run: their registers, and how each came to where it is.
pub(super) type Threads = FxHashMap<u64, (Option<unicorn_engine::Context>, Option<Previous>)>;

/// What an emulated kernel has its hands on.
pub(super) struct Hands<'h, 'e, 'a> {
    pub(super) engine: &'h mut Unicorn<'e, Context<'a>>,
    pub(super) core: &'static dyn Core,
    pub(super) threads: &'h mut Threads,
    /// Whether the emulator knows pages or code that are there no more.
    pub(super) is_stale: Cell<bool>,
    /// Whether the memory of a call is meant, all of whose pages are there from the start.
    pub(super) is_call: bool,
    /// Notes what the kernel does to memory, if somebody wants to know.
    pub(super) notes: Option<Rc<Answers>>,
}

impl Hands<'_, '_, '_> {
    fn note(&self, what: impl FnOnce(&Answers)) {
        if let Some(notes) = &self.notes {
            what(notes);
        }
    }

    fn memory(&self) -> Rc<GuestMemory> {
        Rc::clone(&self.engine.get_data().memory)
    }

    fn get(&self, id: i32) -> u64 {
        self.engine.reg_read(id).unwrap_or_default()
    }

    fn set(&mut self, id: i32, value: u64) {
        let _ = self.engine.reg_write(id, value); // fails for none of these ids
    }

    /// Reads a register of up to 16 bytes.
    fn get_long(&self, id: i32) -> [u8; 16] {
        let mut bytes = [0; 16];
        // SAFETY: the engine is alive and stopped, and Unicorn writes at most 16 bytes for each id of `UserRegisters::floats`.
        unsafe { uc_reg_read(self.engine.get_handle(), id, bytes.as_mut_ptr().cast()) };
        bytes
    }

    fn set_long(&mut self, id: i32, bytes: &[u8; 16]) {
        // SAFETY: as for `get_long`: Unicorn reads at most 16 bytes.
        unsafe { uc_reg_write(self.engine.get_handle(), id, bytes.as_ptr().cast()) };
    }
}

impl Hardware for Hands<'_, '_, '_> {
    fn cpu(&self) -> &'static Cpu {
        self.engine.get_data().cpu
    }

    fn register(&self, register: Register) -> u64 {
        self.core.register_ids().get(usize::from(register.0)).map_or(0, |id| self.get(*id))
    }

    fn set_register(&mut self, register: Register, value: u64) {
        if let Some(id) = self.core.register_ids().get(usize::from(register.0)) {
            self.set(*id, value);
        }
    }

    fn pc(&self) -> u64 {
        self.engine.pc_read().unwrap_or_default()
    }

    fn set_pc(&mut self, pc: u64) {
        let _ = self.engine.set_pc(pc); // fails for no CPU
    }

    fn flags(&self) -> u64 {
        let (id, mask, set) = self.core.user_registers().flags;
        if mask == 0 { 0 } else { self.get(id) & mask | set }
    }

    fn set_flags(&mut self, flags: u64) {
        let (id, mask, _) = self.core.user_registers().flags;
        if mask != 0 {
            let others = self.get(id) & !mask;
            self.set(id, others | flags & mask);
        }
    }

    fn thread_pointer(&self) -> u64 {
        self.get(self.core.user_registers().thread_pointer)
    }

    fn set_thread_pointer(&mut self, address: u64) {
        self.set(self.core.user_registers().thread_pointer, address);
    }

    fn floats(&self) -> Floats {
        let user = self.core.user_registers();
        let registers = user.floats.0.iter().map(|id| self.get_long(*id)).collect();
        Floats { registers, control: user.float_control.iter().map(|id| self.get(*id)).collect() }
    }

    fn set_floats(&mut self, floats: &Floats) {
        let user = self.core.user_registers();
        for (id, register) in user.floats.0.iter().zip(&floats.registers) {
            self.set_long(*id, register);
        }
        for (id, control) in user.float_control.iter().zip(&floats.control) {
            self.set(*id, *control);
        }
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.memory().read(address, bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let written = self.memory().write_bytes(address, bytes, false);
        self.note(|notes| notes.wrote(address, bytes));
        written
    }

    fn load(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.is_stale.set(true);
        let written = self.memory().write_bytes(address, bytes, true);
        self.note(|notes| notes.wrote(address, bytes));
        written
    }

    fn map(&mut self, pages: &Range<u64>, permission: Permission) -> bool {
        self.is_stale.set(true);
        if self.is_call {
            return !permission.execute && self.memory().clear(pages);
        }
        self.note(|notes| notes.mapped(pages, permission, true));
        self.memory().set_pages(pages, permission, true)
    }

    fn protect(&mut self, pages: &Range<u64>, permission: Permission) -> bool {
        self.is_stale.set(true);
        self.note(|notes| notes.mapped(pages, permission, false));
        self.is_call || self.memory().set_pages(pages, permission, false)
    }

    fn park(&mut self, thread: u64) -> Result<(), String> {
        let saved = self.engine.context_init().map_err(|error| format!("{error:?}"))?;
        self.threads.entry(thread).or_insert((None, None)).0 = Some(saved);
        Ok(())
    }

    fn resume(&mut self, thread: u64) -> Result<(), String> {
        let saved = self.threads.get_mut(&thread).and_then(|(saved, _)| saved.take());
        let saved = saved.ok_or_else(|| format!("the registers of thread {thread} are lost"))?;
        self.engine.context_restore(&saved).map_err(|error| format!("{error:?}"))
    }
}

//! The start of a process: what `execve` leaves in memory and in registers.
//!
//! ```text
//!   STACK_TOP   texts: arguments, environment, the program's name, 16 random bytes
//!               auxiliary vector: pairs of words, {0, 0} at the end
//!               environment: pointers, 0 at the end
//!               arguments: pointers, 0 at the end
//!   SP ->       the number of arguments
//! ```

use std::sync::Arc;

use super::hardware::{Hardware, Permission};
use super::image::{Image, Load};
use super::memory::{self, PROGRAM};
use super::{Launch, Process, signals};
use crate::guest::PAGE;

// Linux include/uapi/linux/auxvec.h.
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_PLATFORM: u64 = 15;
const AT_HWCAP: u64 = 16;
const AT_CLKTCK: u64 = 17;
const AT_SECURE: u64 = 23;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
const AT_SYSINFO_EHDR: u64 = 33;

/// The pages with a vDSO's data right below it, of which Linux has up to 8 (include/vdso/datapage.h). They are zeros here: no clock can be
/// read, and every function of the vDSO makes its system call.
const VDSO_DATA: u64 = 16 * PAGE;

/// A file that is loaded, where it is.
struct Loaded {
    image: Image,
    bias: u64,
}

/// The address of a program's first page, before it runs.
pub(super) fn program_address(image: &Image) -> u64 {
    if image.is_relocatable { PROGRAM } else { image.extent().start }
}

impl Process {
    /// Loads the program and its dynamic loader, and sets the registers to their first instruction.
    pub(super) fn execute(&mut self, hardware: &mut dyn Hardware, launch: &Launch) -> Result<(), String> {
        let program = self.place(hardware, &launch.name(), &launch.bytes, 0)?;
        let mut heap = program.image.extent().end.wrapping_add(program.bias);
        heap = heap.next_multiple_of(PAGE);
        self.memory.set_heap(heap);
        let entry = program.image.entry.wrapping_add(program.bias);
        let (pc, base) = match &program.image.interpreter {
            None => (entry, 0),
            Some(path) => {
                let loader = self.load_interpreter(hardware, path)?;
                (loader.image.entry.wrapping_add(loader.bias), loader.image.extent().start.wrapping_add(loader.bias))
            }
        };
        let vdso = self.load_vdso(hardware, launch)?;
        let stack = memory::stack();
        if !self.map(hardware, &stack, Permission::DATA) {
            return Err("the stack cannot be mapped".to_owned());
        }
        self.stacks.push(stack);
        let mut vector = vec![
            (AT_HWCAP, self.abi.hwcap),
            (AT_PAGESZ, PAGE),
            (AT_CLKTCK, 100),
            (AT_PHDR, program.image.headers.0.wrapping_add(program.bias)),
            (AT_PHENT, 56),
            (AT_PHNUM, program.image.headers.1),
            (AT_BASE, base),
            (AT_FLAGS, 0),
            (AT_ENTRY, entry),
            (AT_UID, 0),
            (AT_EUID, 0),
            (AT_GID, 0),
            (AT_EGID, 0),
            (AT_SECURE, 0),
        ];
        vector.extend(vdso.map(|address| (AT_SYSINFO_EHDR, address)));
        let sp = self.put_arguments(hardware, launch, vector)?;
        hardware.set_register(hardware.cpu().sp, sp);
        hardware.set_pc(pc);
        Ok(())
    }

    fn load_interpreter(&mut self, hardware: &mut dyn Hardware, path: &str) -> Result<Loaded, String> {
        let fd = self.files.open(std::path::Path::new("/"), path, 0).map_err(|_| {
            format!("its dynamic loader {path} is not there: name the folder in which it and the libraries are with --sysroot")
        })?;
        let (path, bytes) = self.files.content(fd).ok_or_else(|| format!("its dynamic loader {path} is no file"))?;
        self.files.close(fd);
        self.place(hardware, &path, &bytes, 0).map_err(|reason| format!("its dynamic loader {path}: {reason}"))
    }

    /// Loads the vDSO if one is given, and returns its address. Maps a trampoline for signals, where neither it nor the C library has one.
    fn load_vdso(&mut self, hardware: &mut dyn Hardware, launch: &Launch) -> Result<Option<u64>, String> {
        let mut vdso = None;
        if let Some((name, bytes)) = &launch.vdso {
            let wrong = |reason: String| format!("--vdso {name}: {reason}");
            let loaded = self.place(hardware, name, bytes, VDSO_DATA).map_err(wrong)?;
            let base = loaded.image.extent().start.wrapping_add(loaded.bias);
            self.trampoline = launch.trampoline.map(|address| address.wrapping_add(loaded.bias));
            vdso = Some(base);
        }
        let code = signals::trampoline(self.abi);
        if !code.is_empty() && self.trampoline.is_none() {
            let at = self.memory.place(PAGE).ok_or("there is no room for the trampoline of signals")?;
            self.map(hardware, &(at..at + PAGE), Permission::CODE);
            hardware.load(at, &code);
            self.trampoline = Some(at + 4);
            self.own_code = Some((at, code));
        }
        Ok(vdso)
    }

    /// Maps the segments of a file, and below it, if it is one that may be moved, so many bytes of zeros.
    fn place(
        &mut self,
        hardware: &mut dyn Hardware,
        path: &str,
        bytes: &Arc<Vec<u8>>,
        data: u64,
    ) -> Result<Loaded, String> {
        let image = Image::parse(bytes, hardware.cpu())?;
        let extent = image.extent();
        let is_first = self.mappings.is_empty();
        let at = match (image.is_relocatable, is_first) {
            (false, _) => extent.start,
            (true, true) => PROGRAM,
            (true, false) => {
                let at =
                    self.memory.place(data + extent.end - extent.start).ok_or("there is no room for it in memory")?;
                at + data
            }
        };
        let bias = at.wrapping_sub(extent.start);
        if data > 0 && image.is_relocatable {
            self.map(hardware, &(at - data..at), Permission { read: true, write: false, execute: false });
        }
        for load in &image.loads {
            self.place_segment(hardware, (path, bytes), load, bias)
                .ok_or_else(|| format!("its segment at {:#x} cannot be mapped there", load.memory.start))?;
        }
        Ok(Loaded { image, bias })
    }

    fn place_segment(
        &mut self,
        hardware: &mut dyn Hardware,
        (path, bytes): (&str, &Arc<Vec<u8>>),
        load: &Load,
        bias: u64,
    ) -> Option<()> {
        let Load { file, memory, permission } = load;
        let start = memory.start.wrapping_add(bias);
        let low = start & !(PAGE - 1);
        let end = memory.end.wrapping_add(bias).next_multiple_of(PAGE);
        let in_file = (start + (file.end - file.start) as u64).next_multiple_of(PAGE).min(end);
        let offset = (file.start as u64) & !(PAGE - 1);
        if low < in_file {
            if !self.map(hardware, &(low..in_file), *permission) {
                return None;
            }
            self.map_file(hardware, (path, bytes), &(low..in_file), offset, *permission);
            // What the file has behind the segment is no part of it.
            let rest = start + (file.end - file.start) as u64;
            if permission.write && rest < in_file {
                hardware.load(rest, &vec![0; (in_file - rest) as usize]);
            }
        }
        (in_file >= end || self.map(hardware, &(in_file.max(low)..end), *permission)).then_some(())
    }

    /// Writes arguments, environment and auxiliary vector. Returns SP.
    fn put_arguments(
        &mut self,
        hardware: &mut dyn Hardware,
        launch: &Launch,
        mut vector: Vec<(u64, u64)>,
    ) -> Result<u64, String> {
        const FULL: &str = "its arguments do not fit on the stack";
        let mut at = memory::STACK_TOP;
        let mut push = |hardware: &mut dyn Hardware, bytes: &[u8]| {
            at = at.checked_sub(bytes.len() as u64).filter(|at| *at > memory::stack().start).ok_or(FULL)?;
            hardware.write(at, bytes).then_some(at).ok_or(FULL)
        };
        push(hardware, &[0; 8])?;
        let mut text = |hardware: &mut dyn Hardware, text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.push(0);
            push(hardware, &bytes)
        };
        let name = text(hardware, &launch.name())?;
        let mut environment = Vec::new();
        for value in &launch.environment {
            environment.push(text(hardware, value)?);
        }
        let mut arguments = vec![name];
        for argument in &launch.arguments {
            arguments.push(text(hardware, argument)?);
        }
        if let Some(platform) = self.abi.platform {
            vector.push((AT_PLATFORM, text(hardware, platform)?));
        }
        let random: Vec<u8> = (0..16).map(|_| self.random.byte()).collect();
        vector.push((AT_RANDOM, push(hardware, &random)?));
        vector.push((AT_EXECFN, name));
        vector.push((0, 0));
        let mut words = vec![arguments.len() as u64];
        words.extend(arguments.into_iter().chain([0]));
        words.extend(environment.into_iter().chain([0]));
        words.extend(vector.into_iter().flat_map(|(key, value)| [key, value]));
        let size = words.len() as u64 * 8;
        let sp = at.checked_sub(size).ok_or(FULL)? & !15;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if sp <= memory::stack().start || !hardware.write(sp, &bytes) {
            return Err(FULL.to_owned());
        }
        Ok(sp)
    }
}

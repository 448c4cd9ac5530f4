//! What a kernel reads of an ELF file to start it: its program headers.

use std::ops::Range;

use super::hardware::Permission;
use crate::cpu::Cpu;
use crate::guest::PAGE;

/// The size of a program header, and the most of them, in an ELF file for 64 bits (System V gABI, chapter 5).
const HEADER: usize = 56;
const MAX_HEADERS: usize = 128;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// A segment that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    /// Its bytes in the file.
    pub(super) file: Range<usize>,
    /// Its addresses, as the file gives them.
    pub(super) memory: Range<u64>,
    /// What its pages may be used for.
    pub(super) permission: Permission,
}

/// A program or a dynamic loader, as a kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// Whether it can be anywhere.
    pub(super) is_relocatable: bool,
    /// Its first instruction.
    pub(super) entry: u64,
    /// Where its program headers are in memory, and how many there are.
    pub(super) headers: (u64, u64),
    pub(super) loads: Vec<Load>,
    /// The path of its dynamic loader.
    pub(super) interpreter: Option<String>,
}

/// A number in a file.
fn number(data: &[u8], at: usize, size: usize) -> Result<u64, String> {
    let bytes = at.checked_add(size).and_then(|end| data.get(at..end));
    let bytes = bytes.ok_or_else(|| format!("it ends before offset {:#x}: truncated?", at.saturating_add(size)))?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

impl Image {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(data: &[u8], cpu: &Cpu) -> Result<Self, String> {
        if data.get(..6) != Some(b"\x7fELF\x02\x01") {
            return Err("it is no ELF file of 64 bits, little endian".to_owned());
        }
        let kind = number(data, 16, 2)? as u16;
        if number(data, 18, 2)? != u64::from(cpu.elf_machine) {
            return Err(format!("it is not for {}", cpu.name));
        }
        if kind != ET_EXEC && kind != ET_DYN {
            return Err("it is neither a program nor a shared object".to_owned());
        }
        let (entry, table) = (number(data, 24, 8)?, number(data, 32, 8)? as usize);
        let count = number(data, 56, 2)? as usize;
        if number(data, 54, 2)? as usize != HEADER || count > MAX_HEADERS {
            return Err("its program headers have an impossible size or number".to_owned());
        }
        let (mut loads, mut interpreter, mut headers) = (Vec::new(), None, 0);
        for index in 0..count {
            let at = table.saturating_add(index * HEADER);
            let word = |offset: usize| number(data, at.saturating_add(offset), 8);
            let (offset, address, in_file, in_memory) = (word(8)? as usize, word(16)?, word(32)? as usize, word(40)?);
            let file = offset..offset.saturating_add(in_file);
            match number(data, at, 4)? as u32 {
                PT_LOAD if in_memory > 0 => {
                    let end = address.checked_add(in_memory).filter(|end| *end < 1 << 47);
                    let end = end.ok_or_else(|| format!("the segment at {address:#x} has an impossible size"))?;
                    if file.end > data.len() || in_file as u64 > in_memory || offset as u64 % PAGE != address % PAGE {
                        return Err(format!("the segment at {address:#x} cannot be mapped from the file: truncated?"));
                    }
                    if file.contains(&table) {
                        headers = address + (table - offset) as u64;
                    }
                    let flags = number(data, at.saturating_add(4), 4)?;
                    let permission =
                        Permission { read: flags & 4 != 0, write: flags & 2 != 0, execute: flags & 1 != 0 };
                    loads.push(Load { file, memory: address..end, permission });
                }
                PT_INTERP => {
                    let path = data.get(file).ok_or("its interpreter's path is beyond its end: truncated?")?;
                    interpreter = Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
                }
                _ => {}
            }
        }
        if loads.is_empty() {
            return Err("it has nothing to load".to_owned());
        }
        loads.sort_by_key(|load| load.memory.start);
        let headers = (headers, count as u64);
        Ok(Self { is_relocatable: kind == ET_DYN, entry, headers, loads, interpreter })
    }

    /// The pages that it takes, as the file gives their addresses.
    pub(super) fn extent(&self) -> Range<u64> {
        let low = self.loads.first().map_or(0, |load| load.memory.start) & !(PAGE - 1);
        low..self.loads.iter().map(|load| load.memory.end).max().unwrap_or(0).next_multiple_of(PAGE)
    }
}

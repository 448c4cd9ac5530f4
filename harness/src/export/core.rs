//! An ELF core (gABI, chapter 4; Linux fs/binfmt_elf.c and include/linux/elfcore.h): what gdb and others open.

use super::write::Bytes;
use super::{ExportedPoint, Origin, of_cpu};
use crate::guest::Segment;

/// The process and its only thread.
const PID: u32 = 4242;
/// A trap: nothing went wrong.
const SIGTRAP: u32 = 5;
/// `NT_PRSTATUS`, `NT_PRPSINFO` and `NT_FILE` (include/uapi/linux/elf.h).
const NOTES: [u32; 3] = [1, 3, 0x4649_4c45];
/// The size of an ELF header, and of a program header, in bytes.
const HEADERS: [usize; 2] = [64, 56];

/// A core of the process at a point: registers, the stack from SP up, and the memory that no file on this machine holds.
#[must_use]
pub fn core(origin: Origin<'_>, point: &ExportedPoint) -> Vec<u8> {
    let guest = &origin.program.guest;
    let has_file = guest.unwind.files.len() <= 1 && guest.path.is_file();
    let is_stack = |segment: &Segment| (segment.address..segment.end()).contains(&point.stack.0);
    let text = guest.segments.iter().filter(|segment| !has_file && !segment.writable && !is_stack(segment));
    let memory: Vec<(u64, &[u8], u32)> = { text.map(|segment| (segment.address, &segment.data[..], 5)) }
        .chain([(point.stack.0, &point.stack.1[..], 6)])
        .collect();
    let notes = notes(origin, point, has_file);
    let [header, entry] = HEADERS;
    let mut next = header + entry * (1 + memory.len());
    let mut out = Bytes::default();
    out.bytes(b"\x7fELF\x02\x01\x01").zeros(9); // 64 bits, little-endian
    out.u16(4).u16(guest.cpu.elf_machine).u32(1).u64(0).u64(header as u64).u64(0);
    out.u32(of_cpu::elf_flags(guest.cpu)).u16(header as u16).u16(entry as u16).u16(1 + memory.len() as u16).zeros(6);
    out.u32(4).u32(4).u64(next as u64).u64(0).u64(0).u64(notes.len() as u64).u64(notes.len() as u64).u64(4);
    next += notes.len();
    for (address, bytes, access) in &memory {
        next = next.next_multiple_of(16);
        let size = bytes.len() as u64;
        out.u32(1).u32(*access).u64(next as u64).u64(*address).u64(0).u64(size).u64(size).u64(1);
        next += bytes.len();
    }
    out.bytes(&notes);
    for (_, bytes, _) in &memory {
        out.align(16).bytes(bytes);
    }
    out.0
}

fn notes(origin: Origin<'_>, point: &ExportedPoint, has_file: bool) -> Vec<u8> {
    let guest = &origin.program.guest;
    let mut status = Bytes::default();
    // siginfo, cursig, masks, pid, ppid, pgrp, sid, times.
    status.u32(SIGTRAP).zeros(8).u16(SIGTRAP as u16).zeros(2).zeros(16);
    status.u32(PID).u32(1).u32(PID).u32(PID).zeros(64);
    status.words(of_cpu::prstatus(guest.cpu).into_iter().map(|slot| slot.value(point))).zeros(8);
    let mut info = Bytes::default();
    info.bytes(b"\0R\0\0").zeros(4).u64(0).u32(0).u32(0).u32(PID).u32(1).u32(PID).u32(PID);
    // gdb compares it with the file that it is given.
    let file = guest.path.file_name().map_or(guest.name.clone(), |name| name.to_string_lossy().into_owned());
    info.text(&file, 16).text(&file, 80);
    let mut files = Bytes::default();
    if has_file {
        let path = guest.path.canonicalize().unwrap_or_else(|_| guest.path.clone());
        let segments: Vec<&Segment> = guest.segments.iter().filter(|segment| !segment.writable).collect();
        files.u64(segments.len() as u64).u64(1);
        for segment in &segments {
            // The offset in the file is not known here; readers take the file's own headers.
            files.u64(segment.address).u64(segment.end()).u64(0);
        }
        for _ in segments {
            files.bytes(path.to_string_lossy().as_bytes()).zeros(1);
        }
    }
    let mut out = Bytes::default();
    for (kind, note) in NOTES.into_iter().zip([status, info, files]).filter(|(_, note)| note.len() > 0) {
        out.u32(5).u32(note.len() as u32).u32(kind).bytes(b"CORE\0").align(4).bytes(&note.0).align(4);
    }
    out.0
}

//! All points as one `perf.data` (Linux tools/perf/Documentation/perf.data-file-format.txt, include/uapi/linux/perf_event.h): samples
//! with user registers and a dump of the stack, as `perf record --call-graph dwarf` takes them. `perf script` then unwinds them.

use super::write::Bytes;
use super::{ExportedPoint, Origin, of_cpu};
use crate::guest::{PAGE, Segment};

const PID: u32 = 4242;
/// IP, TID, TIME, CALLCHAIN, REGS_USER and STACK_USER of `sample_type`.
const SAMPLE: u64 = 1 | 2 | 4 | 1 << 5 | 1 << 12 | 1 << 13;
/// `mmap`, `comm`, `sample_id_all` and `mmap2` of the flags.
const FLAGS: u64 = 1 << 8 | 1 << 9 | 1 << 18 | 1 << 23;
/// `PERF_CONTEXT_USER`: what follows in a call chain are user addresses.
const CONTEXT_USER: u64 = 0xffff_ffff_ffff_fe00;
/// `PERF_RECORD_COMM`, `PERF_RECORD_SAMPLE` and `PERF_RECORD_MMAP2`.
const RECORDS: [u32; 3] = [3, 9, 10];
/// The record is of user space (`PERF_RECORD_MISC_USER`).
const USER: u16 = 2;
/// `HEADER_ARCH`, the bit and the section of the CPU's name.
const ARCH: u32 = 6;
/// The longest stack in a sample: the size of a record has 16 bits.
const MOST_STACK: usize = 0xf000;

/// A file in the making.
#[derive(Debug)]
pub struct PerfData {
    records: Bytes,
    mask: u64,
    arch: &'static str,
    samples: u64,
}

impl PerfData {
    /// With the modules of a program, and no sample.
    #[must_use]
    pub fn new(origin: Origin<'_>) -> Self {
        let guest = &origin.program.guest;
        let (mask, _) = of_cpu::perf(guest.cpu);
        let mut data = Self { records: Bytes::default(), mask, arch: of_cpu::machine(guest.cpu), samples: 0 };
        let [comm, _, mmap] = RECORDS;
        let mut body = Bytes::default();
        body.u32(PID).u32(PID).bytes(guest.name.as_bytes()).zeros(1).align(8);
        data.record(comm, &with_id(body));
        let path = guest.path.canonicalize().unwrap_or_else(|_| guest.path.clone());
        for segment in guest.segments.iter().filter(|segment| segment.executable) {
            let mut body = Bytes::default();
            let offset = file_offset(&guest.segments, segment);
            body.u32(PID).u32(PID).u64(segment.address).u64(segment.end() - segment.address).u64(offset);
            body.u32(8).u32(1).u64(1).u64(0).u32(5).u32(2);
            body.bytes(path.to_string_lossy().as_bytes()).zeros(1).align(8);
            data.record(mmap, &with_id(body));
        }
        data
    }

    fn record(&mut self, kind: u32, body: &Bytes) {
        self.records.u32(kind).u16(USER).u16(body.len() as u16 + 8).bytes(&body.0);
    }

    /// Adds a point. Its time is its number, in microseconds, from 1.
    pub fn add(&mut self, origin: Origin<'_>, point: &ExportedPoint) {
        self.samples += 1;
        let (_, slots) = of_cpu::perf(origin.program.guest.cpu);
        let stack = &point.stack.1[..point.stack.1.len().min(MOST_STACK)];
        let mut body = Bytes::default();
        body.u64(point.pc).u32(PID).u32(PID).u64(1000 * self.samples).u64(1).u64(CONTEXT_USER);
        body.u64(2).words(slots.into_iter().map(|slot| slot.value(point))); // PERF_SAMPLE_REGS_ABI_64
        body.u64(stack.len() as u64).bytes(stack);
        if !stack.is_empty() {
            body.u64(stack.len() as u64);
        }
        let [_, sample, _] = RECORDS;
        self.record(sample, &body);
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut attribute = Bytes::default();
        // A software clock, sampled at each event; the size is that of version 7 of the structure.
        attribute.u32(1).u32(128).u64(0).u64(1).u64(SAMPLE).u64(0).u64(FLAGS).zeros(32);
        attribute.u64(self.mask).u32(8192).zeros(128 - 92);
        attribute.zeros(16); // no ids
        let header = 104;
        let data_at = header + attribute.len();
        let mut out = Bytes::default();
        out.bytes(b"PERFILE2").u64(header as u64).u64(attribute.len() as u64);
        out.u64(header as u64).u64(attribute.len() as u64).u64(data_at as u64).u64(self.records.len() as u64);
        out.zeros(16).u64(1 << ARCH).zeros(24);
        out.bytes(&attribute.0).bytes(&self.records.0);
        let text_at = out.len() + 16;
        let text = format!("{}\0", self.arch);
        let size = text.len().next_multiple_of(8);
        out.u64(text_at as u64).u64(4 + size as u64).u32(size as u32).bytes(text.as_bytes()).zeros(size - text.len());
        out.0
    }
}

/// The record, with who and when (`sample_id_all`).
fn with_id(mut body: Bytes) -> Bytes {
    body.u32(PID).u32(PID).u64(1);
    body
}

/// Where a segment is in a guest's file: guests/guest.ld leaves the first page to the headers.
fn file_offset(segments: &[Segment], segment: &Segment) -> u64 {
    let first = segments.first().map_or(segment.address, |first| first.address);
    PAGE + (segment.address - first) / PAGE * PAGE
}

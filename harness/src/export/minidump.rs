//! A minidump (Breakpad, src/google_breakpad/common/minidump_format.h): system, one thread with its registers and stack, modules.

use super::write::Bytes;
use super::{ExportedPoint, Origin, of_cpu};
use crate::guest::Segment;

/// `MDMP`.
const SIGNATURE: u32 = 0x504d_444d;
/// The version, whose upper half is the writer's.
const VERSION: u32 = 0xa793;
/// `MD_THREAD_LIST_STREAM`, `MD_MODULE_LIST_STREAM` and `MD_SYSTEM_INFO_STREAM`.
const STREAMS: [u32; 3] = [3, 4, 7];
/// `MD_OS_LINUX`.
const LINUX: u32 = 0x8201;

/// A minidump of the process at a point; `None`: the format does not know the CPU.
#[must_use]
pub fn minidump(origin: Origin<'_>, point: &ExportedPoint) -> Option<Vec<u8>> {
    let guest = &origin.program.guest;
    let layout = of_cpu::minidump(guest.cpu)?;
    let (flags, at) = layout.flags;
    let mut context = Bytes::default();
    context.zeros(at).u32(flags).zeros(layout.head - at - 4);
    context.words(layout.slots.iter().map(|slot| slot.value(point)));
    let rest = layout.size - context.len();
    context.zeros(rest);
    let mut system = Bytes::default();
    system.u16(layout.processor).zeros(4).bytes(&[1, 1]).zeros(12).u32(LINUX).zeros(32);
    let mut name = Bytes::default();
    let wide: Vec<u16> = guest.name.encode_utf16().collect();
    name.u32(2 * wide.len() as u32);
    for unit in wide {
        name.u16(unit);
    }
    name.u16(0);

    let (base, stack) = &point.stack;
    let [thread_size, module_size] = [4 + 48, 4 + 108];
    let streams = 32 + 12 * STREAMS.len();
    let thread_at = streams + system.len();
    let module_at = thread_at + thread_size;
    let name_at = module_at + module_size;
    let context_at = (name_at + name.len()).next_multiple_of(16);
    let stack_at = context_at + context.len();
    let mut out = Bytes::default();
    out.u32(SIGNATURE).u32(VERSION).u32(STREAMS.len() as u32).u32(32).u32(0).u32(0).u64(0);
    let [threads, modules, systems] = STREAMS;
    for (kind, size, at) in
        [(systems, system.len(), streams), (threads, thread_size, thread_at), (modules, module_size, module_at)]
    {
        out.u32(kind).u32(size as u32).u32(at as u32);
    }
    out.bytes(&system.0);
    out.u32(1).u32(1).u32(0).u32(0).u32(0).u64(0).u64(*base).u32(stack.len() as u32).u32(stack_at as u32);
    out.u32(context.len() as u32).u32(context_at as u32);
    let low = guest.segments.first().map_or(0, |segment| segment.address);
    let size = guest.segments.last().map_or(low, Segment::end).wrapping_sub(low);
    out.u32(1).u64(low).u32(u32::try_from(size).unwrap_or(u32::MAX)).u32(0).u32(0).u32(name_at as u32).zeros(84);
    out.bytes(&name.0).align(16).bytes(&context.0).bytes(stack);
    Some(out.0)
}

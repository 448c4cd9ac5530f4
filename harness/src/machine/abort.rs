//! Where the emulator gives up. Its translator aborts the process at some bytes that are no instruction (on x86-64, a locked `btr` of
//! a register). Nothing can be rescued then, but it can be said where that was.

use std::cell::Cell;
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;
use std::ptr::null;
use std::sync::Once;

use signal_hook::consts::SIGABRT;
use unicorn_engine::{Unicorn, uc_error};

use super::Context;
use crate::guest::{Guest, Symbols};
use crate::trace::Previous;

/// The exit status: the runs of this command were not judged.
const STATUS: i32 = 2;

/// What is said of a run.
pub(super) struct Name<'a> {
    pub(super) cpu: &'a str,
    pub(super) program: &'a str,
    pub(super) symbols: Option<&'a Symbols>,
}

impl<'a> Name<'a> {
    /// A guest.
    pub(super) fn of(guest: &'a Guest) -> Self {
        Self { cpu: guest.cpu.name, program: &guest.name, symbols: Some(&guest.symbols) }
    }
}

/// What a thread runs, and how it came where it is.
type Running = (*const Name<'static>, *const Option<Previous>);

thread_local!(static RUNNING: Cell<Running> = const { Cell::new((null(), null())) });

static REGISTERED: Once = Once::new();

/// Runs an engine from `pc` until `until`. If the emulator aborts, the program ends with a message that says where.
pub(super) fn emulate(
    engine: &mut Unicorn<'_, Context<'_>>,
    name: &Name<'_>,
    (pc, until): (u64, u64),
) -> Result<(), uc_error> {
    REGISTERED.call_once(|| {
        // SAFETY: what the handler does is safe in a signal handler: it reads what does not change meanwhile, writes to a file
        // descriptor and exits. Without it, the process would end as well; so nothing depends on whether it could be registered.
        let _ = unsafe { signal_hook::low_level::register(SIGABRT, say) };
    });
    let name = std::ptr::from_ref(name).cast::<Name<'static>>(); // not longer than this function waits
    let outer = RUNNING.replace((name, &raw const engine.get_data().previous));
    let outcome = engine.emu_start(pc, until, 0, 0);
    RUNNING.set(outer);
    outcome
}

/// The start of a text, without an allocation: the emulator may have aborted in the middle of one.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// The signal handler.
fn say() {
    let (name, previous) = RUNNING.get();
    // SAFETY: both are null or lie in what `emulate` has borrowed, which waits on this very thread for the emulator to return; nothing
    // writes to them now.
    let (Some(name), Some(previous)) = (unsafe { name.as_ref() }, unsafe { previous.as_ref() }) else { return };
    let mut text = Text { bytes: [0; 1024], len: 0 };
    let _ = write!(text, "\nerror: {}: {}: the emulator aborted", name.cpu, name.program);
    if let Some(Previous::Retired { pc, .. } | Previous::Delivered { pc, .. }) = *previous {
        let _ = match name.symbols.and_then(|symbols| symbols.function_at(pc)) {
            Some(function) => write!(text, " after {}+{:#x}", function.name, pc - function.address),
            None => write!(text, " after {pc:#x}"),
        };
    }
    let _ = text.write_str(
        ": it cannot translate the code that comes next (bytes that are no instruction?). No run of this command was judged; run the \
         others without this one\n",
    );
    // SAFETY: nothing closes the standard error.
    let _ = rustix::io::write(unsafe { BorrowedFd::borrow_raw(2) }, &text.bytes[..text.len]);
    signal_hook::low_level::exit(STATUS);
}

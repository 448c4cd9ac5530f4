//! Return addresses that somebody took off the stack and replaced by a trampoline's: the function graph tracer (Linux v7.3,
//! kernel/trace/fgraph.c), kretprobes (kernel/kprobes.c) and rethooks (kernel/trace/rethook.c).

use crate::{Error, Target, Task};

/// Who rewrites a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RewriteKind {
    /// The function graph tracer: `return_to_handler`.
    Fgraph,
    /// Kretprobes or rethooks: their trampoline.
    Rethook,
}

/// Code whose address stands in the place of return addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trampoline {
    /// Whose it is.
    pub kind: RewriteKind,
    /// The address that stands in for others: that of the first instruction.
    pub start: u64,
    /// The address behind the last instruction.
    pub end: u64,
}

impl Trampoline {
    /// The trampoline whose address is exactly this one: where it stands for another.
    pub(crate) fn exactly(address: u64, target: &dyn Target) -> Option<Self> {
        target.trampoline(address).filter(|trampoline| trampoline.start == address)
    }
}

/// What an unwinder does with a pc strictly inside of `return_to_handler`. Its handler takes the original address off the
/// ret_stack, and until the trampoline has put it into its place there is none that a walk comes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Inside {
    /// Nothing, as in Linux: the walk goes on as from any other code.
    #[default]
    Ignore,
    /// The walk ends in an error, whatever the ret_stack still knows.
    Refuse,
    /// The ret_stack is asked; if its entry is gone, and no unwind row helps, the walk ends in an error.
    Detect,
    /// The same, but where the entry is gone, the trampoline has a frame record with the original address.
    Record,
    /// The same, but the record is one of metadata, of a type of its own.
    Pending,
}

/// A task's stack of return addresses, which grows upwards: a structure for each traced call, then a control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetStack {
    /// The address of the first word.
    pub words: u64,
    /// The index of the first free word; 0 if it is empty.
    pub index: u64,
    /// The words of one structure: {ret, func, fp, retp}, or without fp.
    pub entry_words: u64,
}

impl RetStack {
    /// SHADOW_STACK_SIZE: 4096 bytes, in words.
    pub const WORDS: u64 = 512;

    /// Whether an address is one of its words.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.words && address - self.words < Self::WORDS * 8
    }
}

/// How far a walk has used up the task's lists. They are consumed one way, from the youngest entry to the oldest.
#[derive(Clone, Copy, Debug, Default)]
pub struct RewriteCursor {
    /// The index behind the next entry of the ret_stack; none if nothing was taken from it.
    index: Option<u64>,
    /// The next node of the list; none if nothing was taken from it.
    node: Option<u64>,
}

/// Bits 0 to 9 of a control word: how many words further down its structure begins.
const CONTROL_OFFSET: u64 = 0x3ff;
/// Bits 10 and 11: what it is. The one right above a structure becomes a bitmap of tracers when all of them have been asked, and
/// only then is the return address replaced.
const CONTROL_TYPE: u64 = 3 << 10;
const CONTROL_BITMAP: u64 = 1 << 10;

impl RewriteCursor {
    /// `ftrace_graph_ret_addr`: of the entries that were not passed yet, youngest first, the first with this cookie and with a
    /// return address that is not the trampoline itself.
    ///
    /// # Errors
    ///
    /// [`Error::Unrecovered`] when there is none, [`Error::Unreadable`] when a word cannot be read.
    pub fn fgraph(&mut self, trampoline: &Trampoline, cookie: u64, target: &dyn Target) -> Result<u64, Error> {
        self.find_fgraph(trampoline, cookie, false, target)
    }

    /// The same, but only of entries that are complete. Mainline raises the index before it writes the cookie: an interrupt
    /// there leaves the tracer an entry with the cookie of a call that is long over, and that may be one of the interrupt's.
    ///
    /// # Errors
    ///
    /// As [`RewriteCursor::fgraph`].
    pub fn fgraph_complete(&mut self, trampoline: &Trampoline, cookie: u64, target: &dyn Target) -> Result<u64, Error> {
        self.find_fgraph(trampoline, cookie, true, target)
    }

    fn find_fgraph(
        &mut self,
        trampoline: &Trampoline,
        cookie: u64,
        must_be_complete: bool,
        target: &dyn Target,
    ) -> Result<u64, Error> {
        let lost = Error::Unrecovered(trampoline.start);
        let stack = target.task().and_then(|task| task.ret_stack).ok_or(lost)?;
        let read = |index: u64| {
            let at = stack.words + index * 8;
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let mut index = self.index.unwrap_or(stack.index).min(RetStack::WORDS);
        while index > stack.entry_words {
            let control = index - 1;
            // A distance of 0 would never get anywhere.
            let entry =
                control.checked_sub(read(control)? & CONTROL_OFFSET).filter(|entry| *entry < control).ok_or(lost)?;
            let (ret, retp) = (read(entry)?, read(entry + stack.entry_words - 1)?);
            index = entry;
            if must_be_complete && read(entry + stack.entry_words)? & CONTROL_TYPE != CONTROL_BITMAP {
                continue;
            }
            if retp == cookie && ret != trampoline.start {
                self.index = Some(index);
                return Ok(ret);
            }
        }
        Err(lost)
    }

    /// `kretprobe_find_ret_addr` and `rethook_find_ret_addr`: of the nodes {next, return address, frame} that were not passed
    /// yet, the first with this frame whose address is not the trampoline itself.
    ///
    /// # Errors
    ///
    /// As [`RewriteCursor::fgraph`].
    pub fn rethook(&mut self, trampoline: &Trampoline, frame: u64, target: &dyn Target) -> Result<u64, Error> {
        /// No list is longer: a guard against loops.
        const MAX_NODES: usize = 64;
        let lost = Error::Unrecovered(trampoline.start);
        let read = |at: u64| target.read_u64(at).ok_or(Error::Unreadable(at));
        let mut node = match self.node {
            Some(node) => node,
            None => read(target.task().and_then(|task: Task| task.rethooks).ok_or(lost)?)?,
        };
        for _ in 0..MAX_NODES {
            if node == 0 {
                break;
            }
            let (next, ret, of) = (read(node)?, read(node + 8)?, read(node + 16)?);
            node = next;
            if of == frame && ret != trampoline.start {
                self.node = Some(node);
                return Ok(ret);
            }
        }
        Err(lost)
    }

    /// What a pc stands for, if it is exactly the address of a trampoline; the pc itself if it is not. As in
    /// `kunwind_recover_return_address`, the graph tracer is asked first, and rethooks after that, each once: of a return that was
    /// traced first and hooked then, the tracer's trampoline stays.
    ///
    /// # Errors
    ///
    /// As [`RewriteCursor::fgraph`].
    pub fn recover(&mut self, pc: u64, cookie: u64, target: &dyn Target) -> Result<u64, Error> {
        // Without a ret_stack nobody traces, and the address is what it is.
        let is_traced = || target.task().is_some_and(|task| task.ret_stack.is_some());
        let pc = match Trampoline::exactly(pc, target) {
            Some(trampoline) if trampoline.kind == RewriteKind::Fgraph && is_traced() => {
                self.fgraph(&trampoline, cookie, target)?
            }
            _ => pc,
        };
        match Trampoline::exactly(pc, target) {
            Some(trampoline) if trampoline.kind == RewriteKind::Rethook => self.rethook(&trampoline, cookie, target),
            _ => Ok(pc),
        }
    }
}

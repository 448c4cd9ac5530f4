//! Return hooks: return addresses that the function graph tracer (Linux v7.3, kernel/trace/fgraph.c), a kretprobe
//! (kernel/kprobes.c) or a rethook (kernel/trace/rethook.c) has replaced by its trampoline's, and the way back to the
//! originals. It does not know where on a stack an address was found: the caller brings the cookie.

use crate::error::Error;
use crate::target::{RetStack, ReturnHook, Target, Task, Trampoline};

/// What an unwinder does with a pc strictly inside `return_to_handler`: its remedy for the trampoline's windows. The
/// trampoline's handler takes the original address off the ret_stack, and until the trampoline has put it where it
/// belongs, no plain walk can find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fix {
    /// None, as in Linux: the walk treats the trampoline like any other code.
    #[default]
    None,
    /// The walk ends in an error, whatever the ret_stack still holds.
    Refuse,
    /// The walk uses the ret_stack. If that no longer has the entry, and no unwind row helps, the walk ends in an
    /// error.
    RetStack,
    /// Like [`Fix::RetStack`], and where the entry is gone the trampoline has a frame record with the original address.
    Record,
    /// Like [`Fix::Record`], with a metadata record of a type of its own.
    Pending,
}

/// How far a walk has used up the task's return hooks. They are consumed one way, from the youngest to the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnHookCursor {
    /// `graph_idx`: the index after the next entry of the ret_stack. 0 says that no entry has been used, and also that the
    /// oldest one has: then the next search begins at the top again, as in Linux.
    index: u64,
    /// The next node of the list; none if no node has been used.
    node: Option<u64>,
}

/// Bits 0 to 9 of a control word: how many words below it its structure begins.
const CONTROL_OFFSET: u64 = 0x3ff;
/// Bits 10 and 11: what it is. The control word right above a structure becomes a bitmap of tracers once all of them
/// have been asked, and only then is the return address replaced.
const CONTROL_TYPE: u64 = 3 << 10;
const CONTROL_BITMAP: u64 = 1 << 10;

impl ReturnHookCursor {
    /// `ftrace_graph_ret_addr`: of the entries that have not been passed, from the youngest on, the first with this
    /// cookie and with a return address that is not the trampoline itself. Once the oldest entry has been used (its
    /// index is 0), all of them count again.
    ///
    /// # Errors
    ///
    /// [`Error::Unrecovered`] when there is none, [`Error::Unreadable`] when a word cannot be read.
    pub fn fgraph(
        &mut self,
        trampoline: &Trampoline,
        cookie: u64,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        self.find_fgraph(trampoline, cookie, false, target)
    }

    /// Like [`ReturnHookCursor::fgraph`], but only among complete entries. Mainline raises the index before it writes
    /// the cookie: an interrupt in between leaves an entry with the cookie of a call that is long over, and if that
    /// interrupt is traced, the cookie may be equal to one of its own.
    ///
    /// # Errors
    ///
    /// As [`ReturnHookCursor::fgraph`].
    pub fn fgraph_complete(
        &mut self,
        trampoline: &Trampoline,
        cookie: u64,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        self.find_fgraph(trampoline, cookie, true, target)
    }

    fn find_fgraph(
        &mut self,
        trampoline: &Trampoline,
        cookie: u64,
        must_be_complete: bool,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        let lost = Error::Unrecovered(trampoline.start);
        let stack = target.task().and_then(|task| task.ret_stack).ok_or(lost)?;
        let read = |index: u64| {
            let at = stack.words + index * 8;
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let mut index = if mutant!("ret-stack-from-top", self.index == 0, true) { stack.index } else { self.index }
            .min(RetStack::WORDS);
        while index > 0 {
            let control = index - 1;
            // A distance of 0 would loop for ever.
            let entry =
                control.checked_sub(read(control)? & CONTROL_OFFSET).filter(|entry| *entry < control).ok_or(lost)?;
            let (ret, retp) = (
                read(entry)?,
                read(entry + mutant!("ret-stack-cookie-word", stack.entry_words - 1, stack.entry_words - 2))?,
            );
            index = entry;
            if mutant!("ret-stack-incomplete-entry", must_be_complete, false)
                && read(entry + stack.entry_words)? & CONTROL_TYPE != CONTROL_BITMAP
            {
                continue;
            }
            if mutant!("ret-stack-any-cookie", retp == cookie, true)
                && mutant!("ret-stack-gives-trampoline", ret != trampoline.start, true)
            {
                self.index = index;
                return Ok(ret);
            }
        }
        Err(lost)
    }

    /// `kretprobe_find_ret_addr` and `rethook_find_ret_addr`: of the nodes {next, return address, frame} that have not
    /// been passed, the first with this frame whose address is not the trampoline itself.
    ///
    /// # Errors
    ///
    /// As [`ReturnHookCursor::fgraph`].
    pub fn rethook(
        &mut self,
        trampoline: &Trampoline,
        frame: u64,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        /// No list is longer: a guard against loops.
        const MAX_NODES: usize = 64;
        let lost = Error::Unrecovered(trampoline.start);
        let read = |at: u64| target.read_u64(at).ok_or(Error::Unreadable(at));
        let mut node = match mutant!("rethook-from-first", self.node, None) {
            Some(node) => node,
            None => read(target.task().and_then(|task: Task| task.rethooks).ok_or(lost)?)?,
        };
        for _ in 0..MAX_NODES {
            if node == 0 {
                break;
            }
            let (next, ret, of) = (read(node)?, read(node + 8)?, read(node + 16)?);
            node = next;
            if mutant!("rethook-any-frame", of == frame, true)
                && mutant!("rethook-gives-trampoline", ret != trampoline.start, true)
            {
                self.node = Some(node);
                return Ok(ret);
            }
        }
        Err(lost)
    }

    /// The original of a return address that is exactly a trampoline's; any other address is its own original. As in
    /// `kunwind_recover_return_address`, the graph tracer is asked first and the rethooks second, each once. A return
    /// that was traced first and hooked second therefore keeps the tracer's trampoline.
    ///
    /// # Errors
    ///
    /// As [`ReturnHookCursor::fgraph`].
    #[inline]
    pub fn recover(&mut self, pc: u64, cookie: u64, target: &(impl Target + ?Sized)) -> Result<u64, Error> {
        match Trampoline::starting_at(pc, target) {
            None => Ok(pc),
            Some(trampoline) => self.recover_from(&trampoline, cookie, target),
        }
    }

    /// The same for the address of this trampoline.
    fn recover_from(
        &mut self,
        trampoline: &Trampoline,
        cookie: u64,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        // Without a ret_stack the tracer does not run, and the address is its own original.
        let is_traced = || target.task().is_some_and(|task| task.ret_stack.is_some());
        let is_tracers = trampoline.hook == ReturnHook::Fgraph;
        let pc = if is_tracers && mutant!("tracer-always-asked", is_traced(), true) {
            self.fgraph(trampoline, cookie, target)?
        } else {
            trampoline.start
        };
        match Trampoline::starting_at(pc, target) {
            Some(trampoline) if trampoline.hook == ReturnHook::Rethook => self.rethook(&trampoline, cookie, target),
            _ => Ok(pc),
        }
    }
}

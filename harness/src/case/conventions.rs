//! The conventions of a frozen guest: [`Conventions`] as tables of a case.

use std::collections::BTreeMap;

use kunwind::ReturnHook;
use serde::{Deserialize, Serialize};

use super::hex::{Hex, Span};
use crate::cpu::{Cpu, Register};
use crate::guest::conventions::{
    Conventions, Kernel, KernelSymbols, KnownTask, OwnUnwinder, Redirects, RetStackPlace, RetStackWords, SavedContext,
    TaskPlace, TaskStack, Trampoline, Vector, Vectors,
};

/// [`Conventions`], but for the stop, which is a key of its own, and for what the scenario's text declares.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Means {
    #[serde(default)]
    arena: Option<Span>,
    #[serde(default)]
    scratch: Option<Span>,
    #[serde(default)]
    generated_text: Option<Hex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user_text: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exception_text: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unsettled: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outermost: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    moved_returns: Vec<Hex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pushes: Vec<Hex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_markers: Vec<Hex>,
    /// From each address on: whether a second exception may be nested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nesting: Vec<(Hex, bool)>,
    /// Pages where symbols are that no file defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<(Hex, String)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    vectors: BTreeMap<Vector, Hex>,
    #[serde(default)]
    redirects: Option<Redirected>,
    #[serde(default)]
    own_unwinder: Option<Own>,
    #[serde(default)]
    kernel: Option<Tasks>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trampoline: Vec<Replaces>,
}

/// [`Trampoline`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaces {
    hook: Hook,
    code: Span,
}

/// [`ReturnHook`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Hook {
    Fgraph,
    Rethook,
}

/// [`Redirects`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirected {
    marks: Vec<Hex>,
    from: Hex,
    to: Hex,
}

/// [`OwnUnwinder`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Own {
    reliable: Option<Hex>,
    best_effort: Option<Hex>,
    save_reliable: Option<Hex>,
    is_modelled: bool,
    consume: Hex,
    buffer: Span,
}

/// [`Kernel`]. The layout of pt_regs is the CPU's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tasks {
    current: Option<Hex>,
    known_register: Option<String>,
    known_at_firmware_event: Option<Hex>,
    known_word: Option<Hex>,
    frame_pointers: Option<bool>,
    /// By the stack's name, how far below its high end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entered_from: Vec<(String, Hex)>,
    fork_entry: Option<Hex>,
    saved_pc: Option<i64>,
    subject: Option<Hex>,
    walk_here: Option<Hex>,
    walk_task: Option<Hex>,
    walk_user: Option<Hex>,
    /// A word, and the value in it that asks.
    need_resched: Option<(Hex, Hex)>,
    stack: Bounds,
    context: Context,
    #[serde(default)]
    task: Vec<Task>,
}

/// [`TaskStack`]: offsets in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Bounds {
    Bounds { low: Hex, high: Hex },
    Sized { low: Hex, size: Hex },
}

/// [`SavedContext`]: offsets in bytes, of registers by their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Context {
    InTask { pc: Hex, registers: BTreeMap<String, Hex> },
    OnStack { sp: Hex, pc: Hex, size: Hex, registers: BTreeMap<String, Hex> },
}

/// [`TaskPlace`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Task {
    address: Hex,
    ret_stack_index: Option<Hex>,
    ret_stack_at: Option<Hex>,
    ret_stack_pointed_at: Option<Hex>,
    /// The size of an entry in words, if it is not that of the CPU's kernels of today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ret_stack_entry_words: Option<u64>,
    rethooks: Option<Hex>,
}

/// The register of this name.
pub(super) fn register(cpu: &Cpu, name: &str) -> Result<Register, String> {
    let found = (0..cpu.registers).map(Register).find(|register| cpu.abi.register_name(*register) == name);
    found.ok_or_else(|| format!("{name:?} is no register of {}", cpu.name))
}

pub(super) fn named(cpu: &Cpu, registers: &[(Register, u64)]) -> BTreeMap<String, Hex> {
    registers.iter().map(|(register, offset)| (cpu.abi.register_name(*register).to_owned(), Hex(*offset))).collect()
}

pub(super) fn numbered(cpu: &Cpu, registers: &BTreeMap<String, Hex>) -> Result<Vec<(Register, u64)>, String> {
    registers.iter().map(|(name, offset)| Ok((register(cpu, name)?, offset.0))).collect()
}

fn spans(ranges: &[std::ops::Range<u64>]) -> Vec<Span> {
    ranges.iter().cloned().map(Span).collect()
}

fn ranges(spans: &[Span]) -> Vec<std::ops::Range<u64>> {
    spans.iter().map(|span| span.0.clone()).collect()
}

impl Means {
    /// What these conventions say. What a scenario declares (`calls`) and what has been done (`stacks` are placed) is left out.
    pub(super) fn new(conventions: &Conventions, cpu: &Cpu) -> Self {
        let Conventions {
            is_process: _, // no process is frozen
            makes_context: _,
            sentinel: _,
            stacks: _,
            arena,
            scratch,
            unsettled,
            vectors,
            kernel,
            own_unwinder,
            user_text,
            exception_text,
            trampolines,
            generated_text,
            moved_returns,
            pushes,
            outermost,
            other_markers,
            calls: _,
            redirects,
            missing,
            nesting,
        } = conventions;
        let hexes = |addresses: &[u64]| addresses.iter().copied().map(Hex).collect();
        let trampoline = |trampoline: &Trampoline| Replaces {
            hook: match trampoline.hook {
                ReturnHook::Fgraph => Hook::Fgraph,
                ReturnHook::Rethook => Hook::Rethook,
            },
            code: Span(trampoline.start..trampoline.end),
        };
        Self {
            arena: arena.clone().map(Span),
            scratch: scratch.clone().map(Span),
            generated_text: generated_text.map(Hex),
            user_text: spans(user_text),
            exception_text: spans(exception_text),
            unsettled: spans(unsettled),
            outermost: spans(outermost),
            moved_returns: hexes(moved_returns),
            pushes: hexes(pushes),
            other_markers: hexes(other_markers),
            nesting: nesting.iter().map(|(address, may)| (Hex(*address), *may)).collect(),
            missing: missing.iter().map(|(page, name)| (Hex(*page), name.clone())).collect(),
            vectors: vectors.all().map(|(vector, address)| (vector, Hex(address))).collect(),
            redirects: redirects.as_ref().map(|Redirects { marks, from, to }| Redirected {
                marks: hexes(marks),
                from: Hex(*from),
                to: Hex(*to),
            }),
            own_unwinder: own_unwinder.as_ref().map(Own::new),
            kernel: kernel.as_ref().map(|kernel| Tasks::new(kernel, cpu)),
            trampoline: trampolines.iter().map(trampoline).collect(),
        }
    }

    /// The conventions.
    ///
    /// # Errors
    ///
    /// What is wrong, with its key.
    pub(super) fn conventions(&self, cpu: &Cpu, stop: u64) -> Result<Conventions, String> {
        let mut vectors = Vectors::default();
        for (vector, address) in &self.vectors {
            vectors.set(*vector, "", Some(address.0));
        }
        let addresses = |hexes: &[Hex]| hexes.iter().map(|hex| hex.0).collect();
        let trampoline = |replaces: &Replaces| Trampoline {
            hook: match replaces.hook {
                Hook::Fgraph => ReturnHook::Fgraph,
                Hook::Rethook => ReturnHook::Rethook,
            },
            start: replaces.code.0.start,
            end: replaces.code.0.end,
        };
        let mut nesting: Vec<(u64, bool)> = self.nesting.iter().map(|(address, may)| (address.0, *may)).collect();
        nesting.sort_unstable();
        Ok(Conventions {
            is_process: false,
            makes_context: None,
            sentinel: Some(stop),
            stacks: Vec::new(),
            arena: self.arena.clone().map(|span| span.0),
            scratch: self.scratch.clone().map(|span| span.0),
            vectors,
            kernel: self.kernel.as_ref().map(|tasks| tasks.kernel(cpu)).transpose()?,
            own_unwinder: self.own_unwinder.as_ref().map(Own::unwinder).transpose()?,
            user_text: ranges(&self.user_text),
            exception_text: ranges(&self.exception_text),
            trampolines: self.trampoline.iter().map(trampoline).collect(),
            generated_text: self.generated_text.map(|hex| hex.0),
            unsettled: ranges(&self.unsettled),
            outermost: ranges(&self.outermost),
            moved_returns: addresses(&self.moved_returns),
            pushes: addresses(&self.pushes),
            other_markers: addresses(&self.other_markers),
            missing: self.missing.iter().map(|(page, name)| (page.0, name.clone())).collect(),
            calls: crate::guest::conventions::CallConventions::default(),
            redirects: self.redirects.as_ref().map(|Redirected { marks, from, to }| Redirects {
                marks: addresses(marks),
                from: from.0,
                to: to.0,
            }),
            nesting,
        })
    }
}

impl Own {
    fn new(own: &OwnUnwinder) -> Self {
        let OwnUnwinder { reliable, best_effort, save_reliable, is_modelled, consume, buffer } = own;
        Self {
            reliable: reliable.map(Hex),
            best_effort: best_effort.map(Hex),
            save_reliable: save_reliable.map(Hex),
            is_modelled: *is_modelled,
            consume: Hex(*consume),
            buffer: Span(buffer.clone()),
        }
    }

    fn unwinder(&self) -> Result<OwnUnwinder, String> {
        let buffer = self.buffer.0.clone();
        if buffer.end - buffer.start < 16 {
            return Err(format!("own-unwinder.buffer: {:?} has no room for an entry", self.buffer));
        }
        let address = |hex: Option<Hex>| hex.map(|hex| hex.0);
        Ok(OwnUnwinder {
            reliable: address(self.reliable),
            best_effort: address(self.best_effort),
            save_reliable: address(self.save_reliable),
            is_modelled: self.is_modelled,
            consume: self.consume.0,
            buffer,
        })
    }
}

impl Tasks {
    fn new(kernel: &Kernel, cpu: &Cpu) -> Self {
        let Kernel {
            current,
            known,
            frame_pointers,
            entered_from,
            stack,
            tasks,
            fork_entry,
            context,
            pt_regs: _,
            saved_pc,
            symbols,
        } = kernel;
        let KnownTask { register, at_firmware_event, word } = known;
        let KernelSymbols { subject, walk_here, walk_task, walk_user, need_resched } = symbols;
        Self {
            current: current.map(Hex),
            known_register: register.map(|register| cpu.abi.register_name(register).to_owned()),
            known_at_firmware_event: at_firmware_event.map(Hex),
            known_word: word.map(Hex),
            frame_pointers: *frame_pointers,
            entered_from: entered_from.iter().map(|(stack, below)| (stack.clone(), Hex(*below))).collect(),
            fork_entry: fork_entry.map(Hex),
            saved_pc: *saved_pc,
            subject: subject.map(Hex),
            walk_here: walk_here.map(Hex),
            walk_task: walk_task.map(Hex),
            walk_user: walk_user.map(Hex),
            need_resched: need_resched.map(|(word, value)| (Hex(word), Hex(value))),
            stack: match *stack {
                TaskStack::Bounds(low, high) => Bounds::Bounds { low: Hex(low), high: Hex(high) },
                TaskStack::Sized(low, size) => Bounds::Sized { low: Hex(low), size: Hex(size) },
            },
            context: match context {
                SavedContext::InTask { pc, registers } => {
                    Context::InTask { pc: Hex(*pc), registers: named(cpu, registers) }
                }
                SavedContext::OnStack { sp, pc, registers, size, sp_register: _ } => {
                    Context::OnStack { sp: Hex(*sp), pc: Hex(*pc), size: Hex(*size), registers: named(cpu, registers) }
                }
            },
            task: tasks.iter().map(|place| Task::new(cpu, place)).collect(),
        }
    }

    fn kernel(&self, cpu: &Cpu) -> Result<Kernel, String> {
        let of = |key: &str, reason: String| format!("kernel.{key}: {reason}");
        let address = |hex: Option<Hex>| hex.map(|hex| hex.0);
        let known = self.known_register.as_ref().map(|name| register(cpu, name)).transpose();
        let registers = |registers| numbered(cpu, registers).map_err(|reason| of("context.registers", reason));
        Ok(Kernel {
            current: address(self.current),
            known: KnownTask {
                register: known.map_err(|reason| of("known-register", reason))?,
                at_firmware_event: address(self.known_at_firmware_event),
                word: address(self.known_word),
            },
            frame_pointers: self.frame_pointers,
            entered_from: self.entered_from.iter().map(|(stack, below)| (stack.clone(), below.0)).collect(),
            stack: match self.stack {
                Bounds::Bounds { low, high } => TaskStack::Bounds(low.0, high.0),
                Bounds::Sized { low, size } => TaskStack::Sized(low.0, size.0),
            },
            tasks: self.task.iter().map(|task| task.place(cpu)).collect::<Result<_, _>>()?,
            fork_entry: address(self.fork_entry),
            context: match &self.context {
                Context::InTask { pc, registers: all } => SavedContext::InTask { pc: pc.0, registers: registers(all)? },
                Context::OnStack { sp, pc, size, registers: all } => SavedContext::OnStack {
                    sp: sp.0,
                    pc: pc.0,
                    registers: registers(all)?,
                    size: size.0,
                    sp_register: cpu.sp,
                },
            },
            pt_regs: cpu.abi.pt_regs,
            saved_pc: self.saved_pc,
            symbols: KernelSymbols {
                subject: address(self.subject),
                walk_here: address(self.walk_here),
                walk_task: address(self.walk_task),
                walk_user: address(self.walk_user),
                need_resched: self.need_resched.map(|(word, value)| (word.0, value.0)),
            },
        })
    }
}

impl Task {
    fn new(cpu: &Cpu, place: &TaskPlace) -> Self {
        let TaskPlace { address, ret_stack, rethooks } = *place;
        let (at, pointed_at) = match ret_stack.map(|place| place.words) {
            None => (None, None),
            Some(RetStackWords::At(address)) => (Some(Hex(address)), None),
            Some(RetStackWords::Pointed(pointer)) => (None, Some(Hex(pointer))),
        };
        Self {
            address: Hex(address),
            ret_stack_index: ret_stack.map(|place| Hex(place.index)),
            ret_stack_at: at,
            ret_stack_pointed_at: pointed_at,
            ret_stack_entry_words: ret_stack
                .map(|place| place.entry_words)
                .filter(|words| *words != cpu.abi.ret_stack_entry_words),
            rethooks: rethooks.map(Hex),
        }
    }

    fn place(&self, cpu: &Cpu) -> Result<TaskPlace, String> {
        let words = match (self.ret_stack_index, self.ret_stack_at, self.ret_stack_pointed_at) {
            (None, None, None) => None,
            (Some(index), Some(at), None) => Some((index, RetStackWords::At(at.0))),
            (Some(index), None, Some(pointer)) => Some((index, RetStackWords::Pointed(pointer.0))),
            _ => {
                return Err("kernel.task: ret-stack-index needs either ret-stack-at or ret-stack-pointed-at".to_owned());
            }
        };
        let entry_words = self.ret_stack_entry_words.unwrap_or(cpu.abi.ret_stack_entry_words);
        let ret_stack = words.map(|(index, words)| RetStackPlace { index: index.0, words, entry_words });
        Ok(TaskPlace { address: self.address.0, ret_stack, rethooks: self.rethooks.map(|hex| hex.0) })
    }
}

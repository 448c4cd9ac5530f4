//! The truth: which activations are really on the stack at each point. Reads no unwind data and calls no unwinder.
//!
//! Two witnesses watch every transfer of control, each in its own way. The [`Ledger`] classifies calls by their opcode and
//! keeps a stack of what was called; the [`Future`] looks only at what a transfer did (did it leave the address behind
//! itself where the ISA's calls leave it?) and waits, without order, for that place to go on. At every transfer both must
//! tell the same: a difference is a contradiction, and a contradiction voids the run. A third witness compares the
//! callee-saved registers of an activation when it goes on with those at its call.
//!
//! A return is a transfer that arrives where an outstanding activation goes on, with that activation's SP, whatever the
//! opcode. What does not match is a jump; so a function that was left by a tail call never appears.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use kunwind::Register;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::arch::{Flow, FlowKind, Linkage, MAX_CALLEE_SAVED};
use crate::guest::{CodeMap, Guest};
use crate::layout::{Layout, Poison};
use crate::machine::{Interrupt, RegisterSet};

/// A function that waits for a call to return: one entry of the true trace.
///
/// Linked to the activation that waits for it in turn, and shared: points of a run hold the same list, and equal lists that
/// are alive at the same time are the same object, so memory does not grow with the number of points.
#[derive(Debug)]
pub struct Activation {
    /// Where it will go on.
    pub resume: u64,
    /// SP at the call site: the CFA of the function that was called.
    pub cfa: u64,
    /// The callee-saved registers at the call, in the order of [`crate::arch::Arch::callee_saved`]; zero behind the last.
    pub saved: [u64; MAX_CALLEE_SAVED],
    /// The stack that `cfa` lies in, as an index into the layout.
    pub stack: Option<usize>,
    /// The next older activation.
    pub parent: Option<Rc<Activation>>,
}

impl Activation {
    /// What makes two activations the same. Parents are compared by identity: they are shared already.
    fn key(&self) -> (u64, u64, &[u64; MAX_CALLEE_SAVED], Option<*const Activation>) {
        (self.resume, self.cfa, &self.saved, self.parent.as_ref().map(Rc::as_ptr))
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Activation {}

impl Hash for Activation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The true trace at one point, youngest activation first. The interrupted instruction itself is not part of it.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    youngest: Option<Rc<Activation>>,
}

impl Truth {
    /// A trace that begins with this activation.
    #[must_use]
    pub fn new(youngest: Option<Rc<Activation>>) -> Self {
        Self { youngest }
    }

    /// The activations, youngest first.
    pub fn activations(&self) -> Activations<'_> {
        Activations { next: self.youngest.as_deref() }
    }
}

/// The activations of a [`Truth`], youngest first.
#[derive(Debug, Clone)]
pub struct Activations<'t> {
    next: Option<&'t Activation>,
}

impl<'t> Iterator for Activations<'t> {
    type Item = &'t Activation;

    fn next(&mut self) -> Option<&'t Activation> {
        let activation = self.next?;
        self.next = activation.parent.as_deref();
        Some(activation)
    }
}

/// A transfer of control that has happened: the last instruction did not go on behind itself.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// The address behind the instruction that transferred control.
    pub next: u64,
    /// Where control is now.
    pub to: u64,
    /// SP now.
    pub sp: u64,
    /// SP at the call site, if the transfer was a call.
    pub call_sp: u64,
    /// How many transfers came before: names this one.
    pub number: u64,
    /// What the opcode says. Only the ledger looks at it.
    pub flow: Flow,
    /// Whether the address behind the instruction stands where a call leaves it. Only the future witness looks at it.
    pub linked: bool,
}

/// What a witness saw in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A call: its activation will go on at `resume` with SP = `cfa`.
    Called {
        /// Where it will go on.
        resume: u64,
        /// SP at the call site.
        cfa: u64,
    },
    /// An activation goes on: the one that the transfer numbered `since` has called.
    Resumed {
        /// Where it goes on.
        resume: u64,
        /// SP, as it was at the call site.
        cfa: u64,
        /// The number of the transfer that was its call.
        since: u64,
    },
}

/// Somebody who watches transfers and tells calls and returns from the rest.
pub trait Witness {
    /// What this transfer was, if it was a call or a return.
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event>;
}

/// The shadow stack: knows a call by its opcode, and a return by its matching an outstanding call.
#[derive(Debug, Default)]
pub struct Ledger {
    outstanding: Vec<(u64, u64, u64)>,
    /// How many outstanding activations go on at an address: most jumps go where none does.
    waiting: FxHashMap<u64, u32>,
}

impl Witness for Ledger {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        let Transfer { next, to, sp, call_sp, number, flow, .. } = *transfer;
        if self.waiting.contains_key(&to)
            && let Some(index) = self.outstanding.iter().rposition(|&(resume, cfa, _)| (resume, cfa) == (to, sp))
        {
            let since = self.outstanding[index].2;
            for (resume, _, _) in self.outstanding.drain(index..) {
                if let Some(count) = self.waiting.get_mut(&resume) {
                    *count -= 1;
                    if *count == 0 {
                        self.waiting.remove(&resume);
                    }
                }
            }
            return Some(Event::Resumed { resume: to, cfa: sp, since });
        }
        // A "call" to the instruction behind it (the old idiom to learn one's own address) calls nobody.
        if flow.kind != FlowKind::Call || to == next {
            return None;
        }
        self.outstanding.push((next, call_sp, number));
        *self.waiting.entry(next).or_default() += 1;
        Some(Event::Called { resume: next, cfa: call_sp })
    }
}

/// The witness of what comes: knows a call by the address that it left behind, and keeps no order. A place that goes on with
/// the SP of its call has been returned to.
#[derive(Debug, Default)]
pub struct Future {
    /// For a place and its SP, the number of the transfer that was the call. There cannot be two calls from one place with
    /// one SP, unless the older one is dead.
    pending: FxHashMap<(u64, u64), u64>,
}

impl Witness for Future {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        let Transfer { next, to, sp, call_sp, number, linked, .. } = *transfer;
        if let Some(since) = self.pending.remove(&(to, sp)) {
            return Some(Event::Resumed { resume: to, cfa: sp, since });
        }
        if !linked || to == next {
            return None;
        }
        self.pending.insert((next, call_sp), number);
        Some(Event::Called { resume: next, cfa: call_sp })
    }
}

/// The two witnesses of a run. Tests plant wrong ones.
pub struct Witnesses {
    /// The one whose word is the truth, if nobody contradicts.
    pub ledger: Box<dyn Witness>,
    /// The one who must agree.
    pub future: Box<dyn Witness>,
}

impl std::fmt::Debug for Witnesses {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Witnesses")
    }
}

impl Default for Witnesses {
    fn default() -> Self {
        Self { ledger: Box::<Ledger>::default(), future: Box::<Future>::default() }
    }
}

/// What is known of a run's truth when the run is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Why nothing of the run may be believed.
    pub contradiction: Option<String>,
    /// Where activations wait that never went on, with how many of each.
    pub unwitnessed: Vec<(u64, usize)>,
}

/// No CPU has more link registers: riscv64 has two.
const MAX_LINKS: usize = 2;

/// Follows a run and knows the truth at each point of it.
pub struct Oracle<'g> {
    guest: &'g Guest,
    layout: &'g Layout,
    poison: &'g Poison,
    witnesses: Witnesses,
    /// Each instruction is classified once.
    flows: CodeMap<Option<Flow>>,
    /// SP, then the link registers.
    transfer_set: RegisterSet,
    saved_set: RegisterSet,
    transfers: u64,
    truth: Truth,
    shared: FxHashSet<Rc<Activation>>,
    abandoned: Vec<u64>,
    contradiction: Option<String>,
}

impl std::fmt::Debug for Oracle<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Oracle").field("guest", &self.guest.name).finish_non_exhaustive()
    }
}

impl<'g> Oracle<'g> {
    /// An oracle for one run of a guest.
    #[must_use]
    pub fn new(guest: &'g Guest, layout: &'g Layout, poison: &'g Poison, witnesses: Witnesses) -> Self {
        let arch = guest.arch;
        let links = match arch.linkage() {
            Linkage::Register(registers) => registers,
            Linkage::Push => &[],
        };
        Self {
            guest,
            layout,
            poison,
            witnesses,
            flows: CodeMap::new(guest, None),
            transfer_set: RegisterSet::new(arch, [arch.sp()].into_iter().chain(links.iter().copied())),
            saved_set: RegisterSet::new(arch, arch.callee_saved().iter().copied()),
            transfers: 0,
            truth: Truth::default(),
            shared: FxHashSet::default(),
            abandoned: Vec::new(),
            contradiction: None,
        }
    }

    /// The truth before the instruction that [`Oracle::observe`] saw last.
    #[must_use]
    pub const fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Whether the run is void already.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.contradiction.is_some()
    }

    /// Takes note of how the machine came to this point.
    pub fn observe(&mut self, at: &Interrupt<'_>) {
        let Some((from, size)) = at.previous else { return };
        let next = from.wrapping_add(u64::from(size));
        if at.pc == next || self.is_void() {
            return;
        }
        let arch = self.guest.arch;
        let mut values = [0; 1 + MAX_LINKS];
        at.read_values(&self.transfer_set, &mut values);
        let [sp, links @ ..] = values;
        let linked = match arch.linkage() {
            Linkage::Register(registers) => links[..registers.len()].contains(&next),
            Linkage::Push => at.memory.read_u64(sp) == Some(next),
        };
        let transfer = Transfer {
            next,
            to: at.pc,
            sp,
            call_sp: sp.wrapping_add(arch.linkage().pushed()),
            number: self.transfers,
            flow: self.flow(from),
            linked,
        };
        self.transfers += 1;
        let told = self.witnesses.ledger.arrived(&transfer);
        let seen = self.witnesses.future.arrived(&transfer);
        if told != seen {
            self.contradict(
                at.pc,
                &format!("the ledger says {}, the future witness says {}", self.tell(told), self.tell(seen)),
            );
            return;
        }
        match told {
            Some(Event::Called { resume, cfa }) => self.called(at, resume, cfa),
            Some(Event::Resumed { resume, cfa, .. }) => self.resumed(at, resume, cfa),
            None => {}
        }
    }

    fn flow(&mut self, address: u64) -> Flow {
        let classify = || self.guest.arch.flow(address, self.guest.bytes_at(address));
        self.flows.get_mut(address).map_or(Flow::SEQUENTIAL, |flow| *flow.get_or_insert_with(classify))
    }

    fn called(&mut self, at: &Interrupt<'_>, resume: u64, cfa: u64) {
        if self.poison.may_be(resume) {
            let name = self.guest.symbols.name_of_return(resume);
            self.contradict(
                at.pc,
                &format!("the poison of unwritten stack slots may look like the return address {name}"),
            );
            return;
        }
        let saved = self.callee_saved(at);
        let activation =
            Activation { resume, cfa, saved, stack: self.layout.stack_of(cfa), parent: self.truth.youngest.take() };
        let activation = match self.shared.get(&activation) {
            Some(known) => Rc::clone(known),
            None => {
                let new = Rc::new(activation);
                self.shared.insert(Rc::clone(&new));
                new
            }
        };
        self.truth.youngest = Some(activation);
    }

    fn resumed(&mut self, at: &Interrupt<'_>, resume: u64, cfa: u64) {
        while let Some(activation) = self.truth.youngest.take() {
            self.truth.youngest.clone_from(&activation.parent);
            let is_it = (activation.resume, activation.cfa) == (resume, cfa);
            if is_it {
                self.compare_saved(at, &activation);
            } else {
                self.abandoned.push(activation.resume);
            }
            // Two owners, this function and the set: nobody else remembers it, so neither need the set.
            if Rc::strong_count(&activation) == 2 {
                self.shared.remove(&activation);
            }
            if is_it {
                return;
            }
        }
    }

    /// The register witness: a function must bring back what the ABI says that it brings back.
    fn compare_saved(&mut self, at: &Interrupt<'_>, activation: &Activation) {
        let now = self.callee_saved(at);
        let registers: &[Register] = self.guest.arch.callee_saved();
        let changed = registers.iter().zip(activation.saved.iter().zip(&now)).find(|(_, (then, now))| then != now);
        if let Some((register, (then, now))) = changed {
            let name = self.guest.arch.abi().register_name(*register);
            let place = self.guest.symbols.name_of_return(activation.resume);
            self.contradict(
                at.pc,
                &format!("callee-saved {name} was {then:#x} at the call and is {now:#x} when {place} goes on"),
            );
        }
    }

    fn callee_saved(&self, at: &Interrupt<'_>) -> [u64; MAX_CALLEE_SAVED] {
        let mut values = [0; MAX_CALLEE_SAVED];
        at.read_values(&self.saved_set, &mut values);
        values
    }

    fn tell(&self, event: Option<Event>) -> String {
        let symbols = &self.guest.symbols;
        match event {
            None => "it is neither a call nor a return".to_owned(),
            Some(Event::Called { resume, .. }) => {
                format!("it is a call that returns to {}", symbols.name_of_return(resume))
            }
            Some(Event::Resumed { resume, since, .. }) => {
                format!("{} goes on after its call (transfer {since})", symbols.name_of_return(resume))
            }
        }
    }

    fn contradict(&mut self, pc: u64, what: &str) {
        self.contradiction = Some(format!("at {}: {what}", self.guest.symbols.name(pc)));
    }

    /// What the run proved. `never_resumes` are the functions that may wait for ever, by name.
    #[must_use]
    pub fn finish(self, never_resumes: &[String]) -> Testimony {
        let places = self.truth.activations().map(|activation| activation.resume).chain(self.abandoned.iter().copied());
        let mut unwitnessed: Vec<(u64, usize)> = Vec::new();
        for place in places {
            match unwitnessed.iter_mut().find(|(known, _)| *known == place) {
                Some((_, count)) => *count += 1,
                None => unwitnessed.push((place, 1)),
            }
        }
        unwitnessed.sort_unstable();
        let is_declared = |place: u64| {
            let function = self.guest.symbols.function_at(place.wrapping_sub(1));
            function.is_some_and(|function| never_resumes.contains(&function.name))
        };
        let contradiction = self.contradiction.or_else(|| {
            let (place, count) = unwitnessed.iter().find(|(place, _)| !is_declared(*place))?;
            let name = self.guest.symbols.name_of_return(*place);
            Some(format!("{name} never went on ({count} times); if that is meant, list its function in never-resumes"))
        });
        Testimony { contradiction, unwitnessed }
    }
}

//! The truth: which activations are really on the stack at each point. Reads no unwind data and calls no unwinder.
//!
//! Two witnesses watch every transfer of control, each in its own way. The [`Ledger`] classifies calls by opcode and keeps a
//! shadow stack of them. The [`Future`] looks only at effects (does the address after the instruction now stand where the ISA's
//! calls leave it?) and waits, in no order, for control to arrive there. Both must agree on every transfer: a difference is a
//! contradiction, and a contradiction voids the run. A third witness compares the callee-saved registers when an activation
//! resumes with those at its call.
//!
//! A return is a transfer to where an outstanding activation resumes, with that activation's SP, whatever the opcode. Any other
//! transfer is a jump; so a function that left by a tail call never appears.

mod activation;
mod alone;
mod location;
mod midway;
mod private;
mod process;
mod redirect;
mod returns;
mod state;
mod stores;
mod strand;
mod witness;

use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::cpu::{Flow, FlowKind, Linkage, MAX_CALLEE_SAVED, Register};
use crate::guest::{CodeMap, Conventions, Guest, Layout, Poison, Program};
use crate::trace::{Ended, Point, Previous, RegisterSet};

use redirect::PendingRedirect;
use returns::MovedArrival;
use stores::StoreWitness;
use strand::Strands;

pub use activation::{Activation, Activations, Cause, MAX_DEPTH, MAX_LINKS, Place, Truth};
pub use alone::with_store;
pub use location::{AddressPlaces, LiveWords, MachineView, displaced};
pub use private::private_conventions;
pub use state::{ReturnPlace, State, States};
pub use stores::Clobbered;
pub use witness::{Event, Future, Ledger, Transfer, Witness};

/// The two witnesses of a run. Tests plant wrong ones.
pub struct Witnesses {
    /// The witness whose account is the truth.
    pub ledger: Box<dyn Witness>,
    /// The witness that must agree with it.
    pub future: Box<dyn Witness>,
    /// In a run that is made again: a callee-saved register that came back changed. The witness of stores looks for the store.
    pub clobbered: Option<Clobbered>,
    /// In a run that is made to see which functions have conventions of their own ([`private_conventions`]): a callee-saved register
    /// that came back changed is noted, where that can be a convention.
    pub notes_private: bool,
}

impl std::fmt::Debug for Witnesses {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Witnesses")
    }
}

impl Default for Witnesses {
    fn default() -> Self {
        Self {
            ledger: Box::<Ledger>::default(),
            future: Box::<Future>::default(),
            clobbered: None,
            notes_private: false,
        }
    }
}

/// What the witnesses have established when the run is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Why the run is void.
    pub contradiction: Option<String>,
    /// The callee-saved register that came back changed, if that is why.
    pub clobbered: Option<Clobbered>,
    /// Where activations wait that never resumed, with their number, by address.
    pub unwitnessed: Vec<(Place, usize)>,
}

/// Follows a run and knows the truth at each point of it.
pub struct Oracle<'g> {
    guest: &'g Guest,
    conventions: &'g Conventions,
    layout: &'g Layout,
    poison: &'g Poison,
    witnesses: Witnesses,
    /// Caches the classification of each instruction.
    flows: CodeMap<Option<Flow>>,
    /// SP, then the link registers.
    transfer_set: RegisterSet,
    saved_set: RegisterSet,
    /// Calls that have been redirected and have not resumed yet.
    pending_redirects: Vec<PendingRedirect>,
    /// Where activations wait, or have waited.
    resumes: FxHashSet<u64>,
    /// The first arrivals at such places with another SP than that of the call, by place and CFA of the activation that waits.
    moved: FxHashMap<(u64, u64), MovedArrival>,
    /// Of a process: by strand, place and SP, what waited when a call last returned there.
    returned: FxHashMap<(u64, u64, u64), Option<Rc<Activation>>>,
    transfers: u64,
    /// How many activations there have been.
    activations: u64,
    strands: Strands,
    truth: Truth,
    /// The truths of strands that are switched out.
    others: FxHashMap<u64, Truth>,
    /// Where activations waited that are gone without having resumed, with their number.
    abandoned: BTreeMap<Place, usize>,
    contradiction: Option<String>,
    clobbered: Option<Clobbered>,
    /// In a run that is made again.
    stores: Option<StoreWitness>,
    /// In a run that is made to see conventions.
    private: Option<private::Seen>,
    /// Whether it must look at each instruction, and not only at transfers of control.
    looks_at_each: bool,
}

impl std::fmt::Debug for Oracle<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Oracle").field("guest", &self.guest.name).finish_non_exhaustive()
    }
}

impl<'g> Oracle<'g> {
    /// An oracle for one run of a program.
    #[must_use]
    pub fn new(program: &'g Program, witnesses: Witnesses) -> Self {
        let Program { guest, conventions, layout, poison, .. } = program;
        let cpu = guest.cpu;
        let stores = witnesses.clobbered.map(|clobbered| {
            let register = cpu.callee_saved.get(clobbered.index).copied();
            StoreWitness::new(clobbered, RegisterSet::new(cpu, register))
        });
        let private = witnesses.notes_private.then(private::Seen::new);
        let strands = Strands::new(program);
        let looks_at_each =
            stores.is_some() || strands.can_switch() || conventions.redirects.is_some() || conventions.is_process;
        let oracle = Self {
            guest,
            conventions,
            layout,
            poison,
            witnesses,
            flows: CodeMap::new(guest, None),
            transfer_set: RegisterSet::new(cpu, [cpu.sp].into_iter().chain(cpu.links().iter().copied())),
            saved_set: RegisterSet::new(cpu, cpu.callee_saved.iter().copied()),
            pending_redirects: Vec::new(),
            resumes: FxHashSet::default(),
            moved: FxHashMap::default(),
            returned: FxHashMap::default(),
            transfers: 0,
            activations: 0,
            strands,
            truth: Truth::default(),
            others: FxHashMap::default(),
            abandoned: BTreeMap::new(),
            contradiction: None,
            clobbered: None,
            stores,
            private,
            looks_at_each,
        };
        match &program.midway {
            Some(midway) => oracle.begin_midway(&midway.waiting),
            None => oracle,
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

    /// Follows the machine to this point.
    #[inline]
    pub fn observe(&mut self, at: &Point<'_>) {
        if let Some(Previous::Retired { pc, size }) = at.previous
            && pc.wrapping_add(u64::from(size)) == at.pc
            && !self.looks_at_each
        {
            return;
        }
        self.observe_closely(at);
    }

    fn observe_closely(&mut self, at: &Point<'_>) {
        if self.is_void() {
            return;
        }
        let (next, delivered) = match at.previous {
            None => return self.begin_thread(at),
            Some(Previous::Retired { pc, size }) => (pc.wrapping_add(u64::from(size)), None),
            Some(Previous::Delivered { pc, sp, signal: Some(signal), .. }) => {
                return self.signalled(at, (pc, sp), signal);
            }
            Some(Previous::Delivered { pc, sp, signal: None, .. }) => (pc, Some(sp)),
        };
        let was_between = self.is_between_strands();
        if self.looks_at_each {
            self.watch_stores(at);
            // A switch may come between two transfers, and the truth is needed at each instruction.
            self.switch_strand(at);
            let redirects = self.conventions.redirects.as_ref();
            if let Some(redirects) = redirects.filter(|redirects| redirects.marks.contains(&at.pc)) {
                self.redirect(at, redirects);
            }
        }
        if at.pc == next && delivered.is_none() {
            return;
        }
        if self.conventions.pushes.contains(&at.pc) {
            let name = self.guest.symbols.name_of_return(at.pc);
            self.contradict(at.pc, &format!("control arrives at {name}, behind a call that is said only to push"));
            return;
        }
        let (transfer, link) = self.transfer(at, next, delivered);
        let by_ledger = self.witnesses.ledger.arrived(&transfer);
        let by_future = self.witnesses.future.arrived(&transfer);
        // A call that only the future witness has seen is a supposition: the link register may hold the address after a
        // branch by chance. If it was a call, its return will contradict the ledger.
        let is_supposition = by_ledger.is_none() && matches!(by_future, Some(Event::Called { .. }));
        if by_ledger != by_future && !is_supposition {
            let (ledger, future) = (self.describe(by_ledger), self.describe(by_future));
            let mut what = format!("the ledger says {ledger}, the future witness says {future}");
            if let Some(register) = link.filter(|_| !transfer.linked) {
                let name = self.guest.cpu.abi.register_name(register);
                let after = self.guest.symbols.name_of_return(next);
                what += &format!(" ([[convention]] says that {name} holds the return address, but it is not {after})");
            }
            self.contradict(at.pc, &what);
            return;
        }
        match by_ledger {
            Some(Event::Called { resume, .. }) if was_between => self.borrows_stack(at, resume),
            Some(Event::Called { resume, cfa }) => {
                self.called(at, resume, cfa);
                self.watch_call(transfer.number);
            }
            Some(Event::Resumed { resume, cfa, since }) => self.resumed(at, (resume, cfa), since, transfer.sp),
            Some(Event::Again { since }) => self.returned_again(at, since, transfer.sp),
            None => {
                self.note_arrival(at, transfer.sp);
                self.landed(at, transfer.sp);
                self.arrive_redirected(at, transfer.sp);
            }
        }
    }

    /// What the witnesses are shown of a transfer of control; and the register in which a declared convention puts the return
    /// address, if it does.
    fn transfer(&mut self, at: &Point<'_>, next: u64, delivered: Option<u64>) -> (Transfer, Option<Register>) {
        let cpu = self.guest.cpu;
        let mut values = [0; 1 + MAX_LINKS];
        at.read_values(&self.transfer_set, &mut values);
        let [sp, links @ ..] = values;
        let (returns, link) = self.convention(at);
        let linked = match (link, cpu.linkage) {
            (Some(register), _) => {
                let mut value = [0];
                at.read_values(&RegisterSet::new(cpu, [register]), &mut value);
                value == [next]
            }
            (None, Linkage::Register(registers)) => links[..registers.len()].contains(&next),
            (None, Linkage::Push) => at.memory.read_u64(sp) == Some(next),
        };
        // A register holds the address, so nothing was pushed.
        let pushed = if link.is_some() { 0 } else { cpu.linkage.pushed() };
        let flow = match at.previous {
            Some(Previous::Retired { pc, .. }) => self.flow(pc),
            _ => Flow::SEQUENTIAL,
        };
        // A call that only pushes is a jump.
        let only_pushes = delivered.is_none() && self.conventions.pushes.contains(&next);
        let (linked, kind) = if only_pushes { (false, FlowKind::Jump) } else { (linked, flow.kind) };
        let flow = Flow { kind, ..flow };
        let transfer = Transfer {
            task: self.strand(),
            next,
            to: at.pc,
            sp,
            call_sp: delivered.unwrap_or_else(|| sp.wrapping_add(pushed)),
            may_move: self.conventions.moved_returns.contains(&at.pc),
            may_return_again: self.conventions.is_process,
            returns,
            enters_by_jump: link.is_some(),
            is_exception: delivered.is_some(),
            number: self.transfers,
            flow,
            linked,
        };
        self.transfers += 1;
        (transfer, link)
    }

    fn flow(&mut self, address: u64) -> Flow {
        let classify = || self.guest.cpu.flow(address, self.guest.bytes_at(address));
        self.flows.get_mut(address).map_or(Flow::SEQUENTIAL, |flow| *flow.get_or_insert_with(classify))
    }

    fn called(&mut self, at: &Point<'_>, resume: u64, cfa: u64) {
        let cause = match at.previous {
            Some(Previous::Delivered { from_user: true, .. }) => Cause::UserException,
            Some(Previous::Delivered { .. }) => Cause::Exception,
            _ => Cause::Call,
        };
        let saved = self.callee_saved(at);
        self.waits(at, (resume, cfa), cause, saved);
    }

    /// What ran waits from now on, and has these callee-saved registers.
    fn waits(&mut self, at: &Point<'_>, (resume, cfa): (u64, u64), cause: Cause, saved: [u64; MAX_CALLEE_SAVED]) {
        if cause == Cause::Call && self.poison.may_be(resume) {
            let name = self.guest.symbols.name_of_return(resume);
            self.contradict(at.pc, &format!("the poison in unwritten stack words may equal the return address {name}"));
            return;
        }
        let depth = self.truth.depth() + 1;
        if depth > MAX_DEPTH {
            let endless = self.endless(at.pc);
            self.contradict(at.pc, &endless);
            return;
        }
        self.resumes.insert(resume);
        let preserved = self.preserved(at, cause);
        let mut values = [0; 1 + MAX_LINKS];
        if cause != Cause::Call {
            at.read_values(&self.transfer_set, &mut values);
        }
        let [_, links @ ..] = values;
        let activation = Activation {
            resume,
            cfa,
            saved,
            preserved,
            entry: at.pc,
            links,
            stack: self.layout.stack_of(cfa),
            cause,
            depth,
            serial: self.next_serial(),
            parent: self.truth.youngest.take(),
        };
        self.truth.youngest = Some(Rc::new(activation));
    }

    /// Why more than [`MAX_DEPTH`] activations wait: the place where most of them do. `to` is what was called last.
    fn endless(&self, to: u64) -> String {
        let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
        for activation in self.truth.activations() {
            *counts.entry(activation.place()).or_default() += 1;
        }
        let symbols = &self.guest.symbols;
        let Some((place, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return String::new() };
        let function = place.function(symbols).map(|function| &function.name);
        let itself = if function == symbols.function_at(to).map(|called| &called.name) { " itself" } else { "" };
        let name = function.map_or_else(|| format!("{:#x}", place.address), Clone::clone);
        let at = place.name(symbols);
        format!("{name} calls{itself} without end: {count} of {MAX_DEPTH} activations wait at {at}")
    }

    /// The serial of an activation that begins to wait.
    fn next_serial(&mut self) -> u64 {
        self.activations += 1;
        self.activations
    }

    fn resumed(&mut self, at: &Point<'_>, (resume, cfa): (u64, u64), since: u64, sp: u64) {
        let may_pass = self.resumes_fiber();
        while let Some(activation) = self.truth.youngest.take() {
            self.truth.youngest.clone_from(&activation.parent);
            let is_it = (activation.resume, activation.cfa) == (resume, cfa);
            if is_it && self.conventions.moved_returns.contains(&at.pc) {
                // Entry code has saved the registers in pt_regs and now uses them.
            } else if is_it {
                self.compare_saved(at, &activation, Some(since), sp);
            } else if !may_pass && !self.is_unwound(&activation, sp) {
                *self.abandoned.entry(activation.place()).or_default() += 1;
            }
            if is_it {
                self.forget_arrival(&activation);
                self.note_return(at, sp);
                return;
            }
        }
        let place = self.guest.symbols.name_of_return(resume);
        self.contradict(at.pc, &format!("the ledger says that {place} resumes, but no activation waits there"));
    }

    fn callee_saved(&self, at: &Point<'_>) -> [u64; MAX_CALLEE_SAVED] {
        let mut values = [0; MAX_CALLEE_SAVED];
        at.read_values(&self.saved_set, &mut values);
        values
    }

    fn describe(&self, event: Option<Event>) -> String {
        let symbols = &self.guest.symbols;
        match event {
            None => "it is neither a call nor a return".to_owned(),
            Some(Event::Called { resume, .. }) => {
                format!("it is a call that returns to {}", symbols.name_of_return(resume))
            }
            Some(Event::Again { since }) => format!("control is again where transfer {since} has returned"),
            Some(Event::Resumed { resume, since, .. }) => {
                format!("{} resumes after its call (transfer {since})", symbols.name_of_return(resume))
            }
        }
    }

    fn contradict(&mut self, pc: u64, what: &str) {
        self.contradiction = Some(format!("at {}: {what}", self.guest.symbols.name(pc)));
    }

    /// The testimony of a run that ended like this. In an interrupted one, what has not resumed may still have done so.
    #[must_use]
    pub fn testimony(self, never_resumes: &[String], ended: Ended) -> Testimony {
        let contradiction = self.contradiction.clone();
        let testimony = self.finish(never_resumes);
        if ended.interrupted { Testimony { contradiction, ..testimony } } else { testimony }
    }

    /// The testimony of the finished run. `never_resumes` names the functions whose calls may never return.
    #[must_use]
    pub fn finish(mut self, never_resumes: &[String]) -> Testimony {
        let mut counts: BTreeMap<Place, usize> = std::mem::take(&mut self.abandoned);
        let truths = self.others.values().chain([&self.truth]);
        let places = truths.flat_map(Truth::activations).map(Activation::place);
        // A process ends in the middle of what it does.
        for place in places.filter(|_| !self.conventions.is_process) {
            *counts.entry(place).or_default() += 1;
        }
        let unwitnessed: Vec<(Place, usize)> = counts.into_iter().collect();
        let outermost = &self.conventions.outermost;
        let is_declared = |place: Place| {
            let function = place.function(&self.guest.symbols);
            outermost.iter().any(|range| range.contains(&place.address))
                || function.is_some_and(|function| never_resumes.contains(&function.name))
        };
        let contradiction = self.contradiction.take().or_else(|| {
            let (place, count) = unwitnessed.iter().find(|(place, _)| !is_declared(*place))?;
            let name = place.name(&self.guest.symbols);
            Some(self.moved_return(*place).unwrap_or_else(|| {
                format!("{name} never resumed ({count} times); if that is intended, list its function in never-resumes")
            }))
        });
        Testimony { contradiction, clobbered: self.clobbered, unwitnessed }
    }
}

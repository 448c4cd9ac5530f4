//! The crate framehop, version 0.16, as profilers use it: in this process, with the sections of the guest's files. Only with the cargo
//! feature `framehop`.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use kunwind::Target as _;

use super::{About, Claim, Claims, Compares, End, Entry, Outcome, Question, Scope, Subject, Told, told};
use crate::cpu::{CodeAddress, Cpu, Regs};
use crate::guest::{Guest, LoadedSection};

/// The unwinder of the crate for the CPU of a guest, with what it has learnt.
enum OfCpu {
    Arm64(UnwinderAarch64<Vec<u8>>, CacheAarch64),
    X86(UnwinderX86_64<Vec<u8>>, CacheX86_64),
}

/// framehop.
pub(super) struct FramehopSubject {
    about: About,
    cpu: &'static Cpu,
    state: Mutex<Told<OfCpu>>,
}

impl FramehopSubject {
    /// framehop on a CPU that it knows.
    pub(super) fn new(cpu: &'static Cpu) -> Option<Self> {
        if !["arm64", "x86_64"].contains(&cpu.name) {
            return None;
        }
        let about = About {
            // Its `Ok(None)` says that the stack has been walked to its end.
            claims: Claims::ByEnd,
            compares: Compares { cfa: true, fp: true, callee_saved: false },
            registers: [cpu.abi.fp, cpu.abi.sp].into_iter().chain(cpu.abi.ra).collect(),
            scope: Scope::Program,
            ..About::of_others("framehop".to_owned(), cpu)
        };
        Some(Self { about, cpu, state: Mutex::new(None) })
    }

    /// The registers of a caller, as far as it says them.
    fn regs(&self, sp: u64, fp: u64) -> Regs {
        let mut regs = Regs::none();
        regs.set(self.cpu.sp, sp);
        regs.set(self.cpu.abi.fp, fp);
        regs
    }

    fn frames(
        &self,
        of_cpu: &mut OfCpu,
        question: &Question<'_>,
        each: &mut Each<'_>,
    ) -> Result<Ended, framehop::Error> {
        let known = |register| question.regs.get(register).unwrap_or_default();
        let (sp, fp, pc) = (known(self.cpu.sp), known(self.cpu.abi.fp), question.pc.value());
        match of_cpu {
            OfCpu::Arm64(unwinder, cache) => {
                let ra = self.cpu.abi.ra.map_or(0, known);
                // Addresses of kernels have all upper bits set, so that none is free for a signature.
                let highest = unwinder.max_known_code_address();
                let mask = match highest.leading_zeros() {
                    0 => PtrAuthMask::new_no_strip(),
                    _ => PtrAuthMask(u64::MAX >> 16), // user addresses have 48 bits
                };
                let mut regs = UnwindRegsAarch64::new_with_ptr_auth_mask(mask, ra, sp, fp);
                follow(unwinder, cache, &mut regs, (pc, question), &mut |pc, regs| {
                    each(pc, self.regs(regs.sp(), regs.fp()))
                })
            }
            OfCpu::X86(unwinder, cache) => {
                let mut regs = UnwindRegsX86_64::new(pc, sp, fp);
                follow(unwinder, cache, &mut regs, (pc, question), &mut |pc, regs| {
                    each(pc, self.regs(regs.sp(), regs.bp()))
                })
            }
        }
    }
}

/// Takes a caller.
type Each<'e> = dyn FnMut(u64, Regs) -> ControlFlow<()> + 'e;

/// How a walk without an error ended.
enum Ended {
    Outermost,
    Full,
}

fn follow<U: Unwinder>(
    unwinder: &U,
    cache: &mut U::Cache,
    regs: &mut U::UnwindRegs,
    (pc, question): (u64, &Question<'_>),
    each: &mut dyn FnMut(u64, &U::UnwindRegs) -> ControlFlow<()>,
) -> Result<Ended, framehop::Error> {
    let mut read = |address: u64| question.target.read_u64(address).ok_or(());
    let mut address = FrameAddress::from_instruction_pointer(pc);
    while let Some(caller) = unwinder.unwind_frame(address, regs, cache, &mut read)? {
        if each(caller, regs).is_break() {
            return Ok(Ended::Full);
        }
        let next = FrameAddress::from_return_address(caller);
        address = next.ok_or(framehop::Error::ReturnAddressIsNull)?;
    }
    Ok(Ended::Outermost)
}

/// A module for each file of the guest.
fn modules(guest: &Guest) -> Vec<Module<Vec<u8>>> {
    let whole = || {
        let low = guest.segments.first().map_or(0, |segment| segment.address);
        low..guest.segments.last().map_or(low, |segment| segment.end())
    };
    let files = if guest.unwind.files.is_empty() { vec![whole()] } else { guest.unwind.files.clone() };
    let module = |(index, file): (usize, &Range<u64>)| {
        let within = |sections: &[LoadedSection]| {
            sections.iter().find(|section| file.contains(&section.address)).map(|it| (it.address, it.data.clone()))
        };
        let eh_frame = within(&guest.unwind.eh_frame);
        // Not loaded; one that has no file of its own goes with the first.
        let debug_frame = guest.unwind.debug_frame.iter().find(|_| index == 0 && eh_frame.is_none());
        let text = guest.segments.iter().find(|segment| segment.executable && file.contains(&segment.address));
        let (eh_frame_svma, eh_frame) =
            eh_frame.map(|(address, data)| (address..address + data.len() as u64, data)).unzip();
        let sections = ExplicitModuleSectionInfo {
            base_svma: file.start,
            text_svma: text.map(|text| text.address..text.end()),
            text: text.map(|text| text.data.to_vec()),
            eh_frame_svma,
            eh_frame,
            debug_frame: debug_frame.map(|section| section.data.clone()),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(format!("{}.{index}", guest.name), file.clone(), file.start, sections)
    };
    files.iter().enumerate().map(module).collect()
}

fn of_cpu(guest: &Guest) -> OfCpu {
    if guest.cpu.name == "arm64" {
        let mut unwinder = UnwinderAarch64::new();
        modules(guest).into_iter().for_each(|module| unwinder.add_module(module));
        OfCpu::Arm64(unwinder, CacheAarch64::new())
    } else {
        let mut unwinder = UnwinderX86_64::new();
        modules(guest).into_iter().for_each(|module| unwinder.add_module(module));
        OfCpu::X86(unwinder, CacheX86_64::new())
    }
}

impl Subject for FramehopSubject {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_cpu = told(&mut state, &question.target.program.guest, of_cpu);
        if each(&Entry { pc: question.pc, regs: question.regs, source: &"start", progress: None }).is_break() {
            return Outcome { end: End::Full, claim: Claim::Unreliable };
        }
        let mut show = |pc, regs: Regs| {
            each(&Entry { pc: CodeAddress::Return(pc), regs: &regs, source: &"framehop", progress: None })
        };
        // A panic of its is a finding about it, and no more.
        let ended = catch_unwind(AssertUnwindSafe(|| self.frames(of_cpu, question, &mut show)));
        let (end, claim) = match ended {
            Ok(Ok(Ended::Outermost)) => (End::Outermost, Claim::Reliable),
            Ok(Ok(Ended::Full)) => (End::Full, Claim::Unreliable),
            Ok(Err(error)) => {
                question.say(format!("error: {error}"));
                (End::Stopped, Claim::Unreliable)
            }
            Err(_) => {
                *state = None;
                question.say("it panicked".to_owned());
                (End::Crashed, Claim::Unreliable)
            }
        };
        Outcome { end, claim }
    }
}

impl std::fmt::Debug for FramehopSubject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FramehopSubject").field("cpu", &self.cpu.name).finish_non_exhaustive()
    }
}

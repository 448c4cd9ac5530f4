//! Every unwinder of a kernel, as one row of data.

use self::Algorithm::{UnwindFrame, UnwindOrc, WalkStackframe};
use super::form::Form::{self, BestEffort, Reliable};
use super::kunwind::{Boundary, Kunwind, Way};
use super::records::Layout;
use super::{arm64, riscv64, unwind_frame, unwind_orc, walk_stackframe};
use crate::abi::{ARM64, Abi, RISCV64, X86_64};
use crate::error::Error;
use crate::return_hook::Fix;
use crate::state::WalkState;
use crate::target::{Format, Target};
use crate::walk::{Claims, Frame, Step, Unwinder};

/// An unwinder of a kernel.
#[derive(Debug)]
pub struct KernelUnwinder {
    /// The name in reports and scenarios. Where a kernel has a reliable and a best-effort walk, they are two forms of
    /// one unwinder, and the latter's name ends in `:best-effort`.
    pub name: &'static str,
    /// The CPU that it is for.
    pub abi: &'static Abi,
    /// The source whose rules it follows, defects included: a kernel, or a series in review.
    pub follows: &'static str,
    /// What its walks are for.
    pub form: Form,
    /// Its remedy for the windows of `return_to_handler`.
    pub fix: Fix,
    /// The unwind data without which it cannot do its work.
    pub needs: Option<Format>,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Kunwind(Kunwind),
    WalkStackframe,
    UnwindFrame,
    UnwindOrc,
}

const ARM64_MAINLINE: &str = "Linux v7.3, arch/arm64/kernel/stacktrace.c";
const ARM64_AGREED: &str = "the review of arm64's SFrame series, version 5 (thread S0)";
const ARM64_VERSION_5: &str = "arm64's SFrame series, version 5, patch 8/8";
const ARM64_VERSION_6: &str = "arm64's SFrame series, version 6, patch 9/9";
const RISCV_MAINLINE: &str = "Linux v7.3, arch/riscv/kernel/stacktrace.c";
const RISCV_SERIES: &str = "riscv's series for reliable stack traces (thread S4)";
const X86_FRAME: &str = "Linux v7.3, arch/x86/kernel/unwind_frame.c";
const X86_ORC: &str = "Linux v7.3, arch/x86/kernel/unwind_orc.c";

const SFRAME: Option<Format> = Some(Format::SFrame);
const ORC: Option<Format> = Some(Format::Orc);

const PLAIN: Algorithm = kunwind(&arm64::LAYOUT, Boundary::FramePointer);
const AGREED: Algorithm = kunwind(&arm64::LAYOUT, Boundary::Rows(&arm64::AGREED));
const VERSION_5: Algorithm = kunwind(&arm64::LAYOUT, Boundary::Rows(&arm64::VERSION_5));
const VERSION_6: Algorithm = kunwind(&arm64::LAYOUT, Boundary::Rows(&arm64::VERSION_6));
const METADATA: Algorithm = kunwind(&riscv64::LAYOUT, Boundary::FramePointer);

const fn kunwind(layout: &'static Layout, boundary: Boundary) -> Algorithm {
    Algorithm::Kunwind(Kunwind { layout, boundary })
}

/// Every unwinder of a kernel, in the order of the columns of reports.
///
/// What a remedy knows of interrupted instructions shows only where the walk crosses exceptions. riscv64's reliable
/// form stops at them, so its remedies have a best-effort form too.
#[rustfmt::skip]
pub static CATALOGUE: [KernelUnwinder; 26] = [
    row("arm64-kunwind",                      &ARM64,   ARM64_MAINLINE,  Reliable,   Fix::None,     None,   PLAIN),
    row("arm64-kunwind:best-effort",          &ARM64,   ARM64_MAINLINE,  BestEffort, Fix::None,     None,   PLAIN),
    row("arm64-sframe",                       &ARM64,   ARM64_AGREED,    Reliable,   Fix::None,     SFRAME, AGREED),
    row("arm64-sframe:best-effort",           &ARM64,   ARM64_AGREED,    BestEffort, Fix::None,     SFRAME, AGREED),
    row("arm64-sframe-v5",                    &ARM64,   ARM64_VERSION_5, Reliable,   Fix::None,     SFRAME, VERSION_5),
    row("arm64-sframe-v6",                    &ARM64,   ARM64_VERSION_6, Reliable,   Fix::None,     SFRAME, VERSION_6),
    row("arm64-sframe-refuse",                &ARM64,   ARM64_AGREED,    Reliable,   Fix::Refuse,   SFRAME, AGREED),
    row("arm64-sframe-detect",                &ARM64,   ARM64_AGREED,    Reliable,   Fix::RetStack, SFRAME, AGREED),
    row("arm64-sframe-record",                &ARM64,   ARM64_AGREED,    Reliable,   Fix::Record,   SFRAME, AGREED),
    row("arm64-sframe-pending",               &ARM64,   ARM64_AGREED,    Reliable,   Fix::Pending,  SFRAME, AGREED),
    row("riscv-walk-stackframe",              &RISCV64, RISCV_MAINLINE,  BestEffort, Fix::None,     None,   WalkStackframe),
    row("riscv-metadata",                     &RISCV64, RISCV_SERIES,    Reliable,   Fix::None,     None,   METADATA),
    row("riscv-metadata:best-effort",         &RISCV64, RISCV_SERIES,    BestEffort, Fix::None,     None,   METADATA),
    row("riscv-metadata-refuse",              &RISCV64, RISCV_SERIES,    Reliable,   Fix::Refuse,   None,   METADATA),
    row("riscv-metadata-detect",              &RISCV64, RISCV_SERIES,    Reliable,   Fix::RetStack, None,   METADATA),
    row("riscv-metadata-detect:best-effort",  &RISCV64, RISCV_SERIES,    BestEffort, Fix::RetStack, None,   METADATA),
    row("riscv-metadata-record",              &RISCV64, RISCV_SERIES,    Reliable,   Fix::Record,   None,   METADATA),
    row("riscv-metadata-record:best-effort",  &RISCV64, RISCV_SERIES,    BestEffort, Fix::Record,   None,   METADATA),
    row("riscv-metadata-pending",             &RISCV64, RISCV_SERIES,    Reliable,   Fix::Pending,  None,   METADATA),
    row("riscv-metadata-pending:best-effort", &RISCV64, RISCV_SERIES,    BestEffort, Fix::Pending,  None,   METADATA),
    row("x86-unwind-frame",                   &X86_64,  X86_FRAME,       Reliable,   Fix::None,     None,   UnwindFrame),
    row("x86-unwind-frame:best-effort",       &X86_64,  X86_FRAME,       BestEffort, Fix::None,     None,   UnwindFrame),
    row("x86-orc",                            &X86_64,  X86_ORC,         Reliable,   Fix::None,     ORC,    UnwindOrc),
    row("x86-orc:best-effort",                &X86_64,  X86_ORC,         BestEffort, Fix::None,     ORC,    UnwindOrc),
    row("x86-unwind-frame-detect",            &X86_64,  X86_FRAME,       Reliable,   Fix::RetStack, None,   UnwindFrame),
    row("x86-orc-detect",                     &X86_64,  X86_ORC,         Reliable,   Fix::RetStack, ORC,    UnwindOrc),
];

const fn row(
    name: &'static str,
    abi: &'static Abi,
    follows: &'static str,
    form: Form,
    fix: Fix,
    needs: Option<Format>,
    algorithm: Algorithm,
) -> KernelUnwinder {
    KernelUnwinder { name, abi, follows, form, fix, needs, algorithm }
}

impl KernelUnwinder {
    /// The unwinders for a CPU, in the order of the catalogue.
    pub fn of(abi: &Abi) -> impl Iterator<Item = &'static Self> {
        CATALOGUE.iter().filter(move |unwinder| core::ptr::eq(unwinder.abi, abi))
    }

    /// The unwinder of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|unwinder| unwinder.name == name)
    }

    fn way(&self) -> Option<Way> {
        match self.algorithm {
            Algorithm::Kunwind(kunwind) => Some(kunwind.way(self.form, self.fix)),
            WalkStackframe | UnwindFrame | UnwindOrc => None,
        }
    }

    /// Whether both make the same walks, whatever they claim of them.
    #[must_use]
    pub fn walks_as(&self, other: &Self) -> bool {
        self.way().zip(other.way()).is_some_and(|(one, other)| one.is_same(other))
    }

    /// [`Unwinder::step`], compiled for one kind of target: a walk that is made at every point of a program need not ask which it is.
    ///
    /// # Errors
    ///
    /// As [`Unwinder::step`].
    #[inline]
    pub fn step_over(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        match self.algorithm {
            Algorithm::Kunwind(kunwind) => kunwind.way(self.form, self.fix).step(frame, state, target),
            WalkStackframe => walk_stackframe::step(frame, state, target),
            UnwindFrame => unwind_frame::step(self.form, self.fix, frame, state, target),
            UnwindOrc => unwind_orc::step(self.form, self.fix, frame, state, target),
        }
    }
}

impl Unwinder for KernelUnwinder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn claims(&self) -> Claims {
        match self.algorithm {
            Algorithm::Kunwind(kunwind) => kunwind.claims(self.form),
            WalkStackframe | UnwindFrame | UnwindOrc => self.form.claims(),
        }
    }

    fn needs(&self) -> Option<Format> {
        self.needs
    }

    fn fix(&self) -> Fix {
        self.fix
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        self.step_over(frame, state, target)
    }
}

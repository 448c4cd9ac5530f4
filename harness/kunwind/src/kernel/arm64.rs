//! arm64: Linux v7.3, arch/arm64/kernel/stacktrace.c and arch/arm64/include/asm/stacktrace/.

use super::Form;
use super::metadata::{Layout, MetadataUnwinder};
use crate::abi::ARM64;

static KUNWIND: Layout = Layout {
    abi: &ARM64,
    names: ["arm64-kunwind", "arm64-kunwind:best-effort"],
    pt_regs_size: 320, // arch/arm64/include/asm/ptrace.h
    pt_regs_on_stack: 320,
    stackframe: 296,
};

/// `kunwind`, as it is in mainline.
#[must_use]
pub const fn arm64_kunwind(form: Form) -> MetadataUnwinder {
    MetadataUnwinder { layout: &KUNWIND, form }
}

//! What an image lacks, and what that costs: told by its symbols, because a configuration is seldom there.

use super::boot::Feature;
use super::data::Told;
use super::symbols::KernelSymbols;

/// What the image of any CPU may lack.
const COMMON: &[Feature] = &[
    Feature {
        name: "data symbols",
        needs: &["init_task"],
        lost: "no state can be made: CONFIG_KALLSYMS_ALL is off, so give a vmlinux with a symbol table",
    },
    Feature { name: "stack walk", needs: &["arch_stack_walk"], lost: "the kernel's own unwinder cannot be judged" },
    Feature { name: "fgraph", needs: &["ftrace_return_to_handler"], lost: "no function graph tracer" },
    Feature {
        name: "kretprobes",
        // With and without CONFIG_KRETPROBE_ON_RETHOOK.
        needs: &["rethook_trampoline_handler", "__kretprobe_trampoline_handler"],
        lost: "no return is hooked by a probe",
    },
    Feature { name: "livepatch", needs: &["klp_enable_patch"], lost: "nothing patches by the reliable walk" },
];

/// Something that an image lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What.
    pub feature: &'static str,
    /// Why that is known.
    pub reason: String,
    /// What cannot be done without.
    pub lost: &'static str,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}): {}", self.feature, self.reason, self.lost)
    }
}

/// What an image lacks whose code tells where the data is that a state needs.
const DATA_BY_CODE: &str =
    "what a state needs is read from code; the tracer cannot be switched on, and `param:` has no place";

/// Which of the common features and of these have no symbol. Some may be known from code.
pub(super) fn lacks(symbols: &KernelSymbols, of_cpu: &[Feature], told: &[Told]) -> Vec<Lack> {
    let all = COMMON.iter().chain(of_cpu);
    let missing = all.filter(|feature| !feature.needs.iter().any(|name| symbols.has(name)));
    let lack = |feature: &Feature| Lack {
        feature: feature.name,
        reason: format!("no symbol {}", feature.needs.join(" or ")),
        lost: if feature.needs.iter().any(|name| told.iter().any(|(other, place)| other == name && place.is_ok())) {
            DATA_BY_CODE
        } else {
            feature.lost
        },
    };
    missing.map(lack).collect()
}

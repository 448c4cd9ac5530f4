//! What an image lacks, and what that costs: told by its symbols, because a configuration is seldom there.

use super::symbols::KernelSymbols;

/// Something that an image may lack.
#[derive(Debug)]
pub(super) struct Feature {
    /// Its name.
    pub(super) name: &'static str,
    /// The symbol that is there when it is.
    pub(super) needs: &'static str,
    /// What cannot be done without.
    pub(super) lost: &'static str,
}

/// What the image of any CPU may lack.
const COMMON: &[Feature] = &[
    Feature { name: "stack walk", needs: "arch_stack_walk", lost: "the kernel's own unwinder cannot be judged" },
    Feature { name: "fgraph", needs: "ftrace_return_to_handler", lost: "no function graph tracer" },
    Feature { name: "rethook", needs: "rethook_trampoline_handler", lost: "no kretprobes" },
    Feature { name: "livepatch", needs: "klp_enable_patch", lost: "nothing patches by the reliable walk" },
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

/// Which of the common features and of these have no symbol.
pub(super) fn lacks(symbols: &KernelSymbols, of_cpu: &[Feature]) -> Vec<Lack> {
    let all = COMMON.iter().chain(of_cpu);
    let missing = all.filter(|feature| !symbols.has(feature.needs));
    let lack = |feature: &Feature| Lack {
        feature: feature.name,
        reason: format!("no symbol {}", feature.needs),
        lost: feature.lost,
    };
    missing.map(lack).collect()
}

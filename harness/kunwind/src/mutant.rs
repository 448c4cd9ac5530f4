//! Mistakes for `cargo xtask mutants`, which asks what would notice them. xtask has the list, with the reason for each.
//!
//! Only with the feature `mutants`: without it `mutant!` is its second argument, and nothing else is compiled.

/// What is right; or with the feature, in a process whose environment selects this mutant, what is wrong.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:literal, $right:expr, $wrong:expr) => {
        $right
    };
}

#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:literal, $right:expr, $wrong:expr) => {{
        static PLACE: crate::mutant::selected::Place = crate::mutant::selected::Place::new();
        if PLACE.is_selected($name) { $wrong } else { $right }
    }};
}

#[cfg(feature = "mutants")]
pub(crate) mod selected {
    extern crate std;

    use core::sync::atomic::{AtomicU8, Ordering};
    use std::io::Write as _;

    /// The place of a mutant in the code. It asks the environment once.
    pub(crate) struct Place(AtomicU8);

    impl Place {
        const UNKNOWN: u8 = 0;
        const OTHER: u8 = 1;
        const SELECTED: u8 = 2;

        pub(crate) const fn new() -> Self {
            Self(AtomicU8::new(Self::UNKNOWN))
        }

        /// Whether the environment variable `KUNWIND_MUTANT` names this one. When it does, standard error says so: a mutant
        /// that no test comes to is not one that the tests miss.
        pub(crate) fn is_selected(&self, name: &str) -> bool {
            match self.0.load(Ordering::Relaxed) {
                Self::UNKNOWN => self.ask(name),
                state => state == Self::SELECTED,
            }
        }

        #[cold]
        fn ask(&self, name: &str) -> bool {
            let is_selected = std::env::var("KUNWIND_MUTANT").is_ok_and(|selected| selected == name);
            if is_selected {
                // Not by a macro whose words tests capture.
                let _ = writeln!(std::io::stderr(), "kunwind: reached the mutant {name}");
            }
            self.0.store(if is_selected { Self::SELECTED } else { Self::OTHER }, Ordering::Relaxed);
            is_selected
        }
    }
}

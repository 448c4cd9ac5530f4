//! What targets of kernels have in common in which no exception is taken.

/// In an `impl Target` of a kernel whose text begins at this address: no stack is entered from another, and no code handles exceptions.
macro_rules! no_exceptions {
    ($text:expr) => {
        fn entered_from(&self, _: &kunwind::StackBounds) -> Option<u64> {
            None
        }

        fn is_text(&self, address: u64) -> bool {
            address >= $text
        }

        fn is_exception_entry(&self, _: u64) -> bool {
            false
        }
    };
}

pub(crate) use no_exceptions;

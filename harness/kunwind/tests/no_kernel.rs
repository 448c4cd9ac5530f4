//! What targets without a kernel have in common.

/// In an `impl Target`: all that it does not say of memory, stacks and tables. There are no interrupts, tasks or tracers, and no kernel's
/// text.
macro_rules! no_kernel {
    () => {
        fn entered_from(&self, _: &kunwind::StackBounds) -> Option<u64> {
            None
        }

        fn is_text(&self, _: u64) -> bool {
            false
        }

        fn is_exception_entry(&self, _: u64) -> bool {
            false
        }

        fn task(&self) -> Option<kunwind::Task> {
            None
        }

        fn trampoline(&self, _: u64) -> Option<kunwind::Trampoline> {
            None
        }
    };
}

pub(crate) use no_kernel;

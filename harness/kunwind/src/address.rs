//! Addresses of code, which come in two kinds that must not be mixed.

/// Where a frame stands in the code.
///
/// A return address is the address of the instruction after the call. That instruction may belong to the next function:
/// a call to a function that never returns can be the last instruction of its caller. Unwind data is therefore looked
/// up one byte before a return address. An interrupted pc is the instruction that was about to run, and is looked up as
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeAddress {
    /// The pc at which execution was interrupted.
    Interrupted(u64),
    /// The address at which a caller resumes.
    Return(u64),
}

impl CodeAddress {
    /// The address itself, as a trace prints it.
    #[must_use]
    pub const fn value(self) -> u64 {
        match self {
            Self::Interrupted(address) | Self::Return(address) => address,
        }
    }

    /// The address to look up in tables of unwind rows and of functions.
    #[must_use]
    pub const fn lookup(self) -> u64 {
        match self {
            Self::Interrupted(address) => address,
            Self::Return(address) => address.wrapping_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CodeAddress;

    #[test]
    fn a_return_address_is_looked_up_one_byte_back() {
        assert_eq!(CodeAddress::Return(0x1000).lookup(), 0xfff);
        assert_eq!(CodeAddress::Interrupted(0x1000).lookup(), 0x1000);
        assert_eq!(CodeAddress::Return(0).lookup(), u64::MAX);
    }
}

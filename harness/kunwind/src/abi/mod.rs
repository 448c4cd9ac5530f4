//! What differs between CPUs, as plain data: each field cites the document that it is from. No rule of an unwinder is
//! here.

mod arm64;
mod conventions;
mod riscv64;
mod x86_64;

pub use arm64::ARM64;
pub use conventions::{Abi, FrameRecord, PtRegs};
pub use riscv64::RISCV64;
pub use x86_64::X86_64;

#[cfg(test)]
mod tests {
    use super::{ARM64, RISCV64};

    /// Bit 55 tells a kernel's address from a program's, whatever is in the bits around it.
    #[test]
    fn a_code_is_taken_off_both_kinds_of_addresses() {
        assert_eq!(ARM64.strip(0x5a3d_8000_1234_5678), 0x0000_8000_1234_5678);
        assert_eq!(ARM64.strip(0x5abd_8000_1234_5678), 0xffff_8000_1234_5678);
        assert_eq!(ARM64.strip(0x0000_0055_1234_5678), 0x0000_0055_1234_5678);
        assert_eq!(RISCV64.strip(0x5a3d_8000_1234_5678), 0x5a3d_8000_1234_5678);
    }
}

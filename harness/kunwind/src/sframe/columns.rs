//! The columns of CFI for the ABIs of the format.

use super::format::SFrameAbi;
use crate::dwarf::Columns;

impl From<SFrameAbi> for Columns {
    fn from(abi: SFrameAbi) -> Self {
        Self {
            sp: abi.sp(),
            fp: abi.fp(),
            ra: abi.ra(),
            // s390x ELF ABI: the CFA lies above the register save area and back chain of the callee, 160 bytes.
            sp_from_cfa: if matches!(abi, SFrameAbi::S390x) { -160 } else { 0 },
            has_sign_state: abi.has_pauth(),
            is_big_endian: abi.is_big_endian(),
        }
    }
}

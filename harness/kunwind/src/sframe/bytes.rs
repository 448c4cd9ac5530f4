//! Bytes in one byte order. They are read one by one, because nothing in a section is aligned; what they mean is not
//! known here.

/// The bytes of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    pub(super) data: &'a [u8],
    pub(super) is_big_endian: bool,
}

impl Bytes<'_> {
    /// The field of `size` (1, 2, 4 or 8) bytes at an offset, if it is inside.
    #[inline]
    pub(super) fn unsigned(&self, offset: usize, size: usize) -> Option<u64> {
        // A read of a known size is one instruction; a loop over the bytes cost a third of a lookup.
        match size {
            1 => self.u8(offset).map(u64::from),
            2 => self.field(offset, u16::from_le_bytes, u16::from_be_bytes).map(u64::from),
            4 => self.field(offset, u32::from_le_bytes, u32::from_be_bytes).map(u64::from),
            8 => self.field(offset, u64::from_le_bytes, u64::from_be_bytes),
            _ => None,
        }
    }

    #[inline]
    fn field<T, const N: usize>(&self, offset: usize, little: fn([u8; N]) -> T, big: fn([u8; N]) -> T) -> Option<T> {
        let field = *self.data.get(offset..)?.first_chunk::<N>()?;
        Some(if self.is_big_endian { big(field) } else { little(field) })
    }

    /// The same for a two's complement number.
    pub(super) fn signed(&self, offset: usize, size: usize) -> Option<i64> {
        Some(sign_extended(self.unsigned(offset, size)?, size))
    }

    pub(super) fn u8(&self, offset: usize) -> Option<u8> {
        self.data.get(offset).copied()
    }

    pub(super) fn u32(&self, offset: usize) -> Option<u32> {
        self.unsigned(offset, 4).map(|value| value as u32)
    }
}

/// A two's complement number of `size` (one to eight) bytes.
pub(super) const fn sign_extended(value: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size as u32;
    (value as i64).wrapping_shl(unused).wrapping_shr(unused)
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn both_byte_orders() {
        let data = [0xe2, 0xde, 0xff, 0x80];
        let little = Bytes { data: &data, is_big_endian: false };
        let big = Bytes { data: &data, is_big_endian: true };
        assert_eq!((little.unsigned(0, 2), big.unsigned(0, 2)), (Some(0xdee2), Some(0xe2de)));
        assert_eq!((little.signed(2, 2), big.signed(2, 2)), (Some(-0x7f01), Some(-0x80)));
        assert_eq!((little.signed(3, 1), big.signed(3, 1)), (Some(-0x80), Some(-0x80)));
        assert_eq!(little.unsigned(1, 4), None);
        assert_eq!(little.unsigned(usize::MAX, 4), None);
    }
}

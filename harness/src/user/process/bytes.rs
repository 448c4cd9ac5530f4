//! Structures as the kernel writes them.

/// What the kernel writes, byte by byte: zeros but for what is set.
#[derive(Debug, Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn u16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, offset: usize, value: u64) {
        self.put(offset, &value.to_le_bytes());
    }

    pub(super) fn get_u64(&self, offset: usize) -> u64 {
        self.0.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    pub(super) fn get_u32(&self, offset: usize) -> u32 {
        self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    pub(super) fn get_16(&self, offset: usize) -> [u8; 16] {
        self.0.get(offset..offset + 16).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
    }
}

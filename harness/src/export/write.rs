//! Little-endian structures.

/// Bytes that grow.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn words(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
        for value in values {
            self.u64(value);
        }
        self
    }

    pub(super) fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    /// A field of fixed size.
    pub(super) fn text(&mut self, text: &str, size: usize) -> &mut Self {
        let kept = &text.as_bytes()[..text.len().min(size - 1)];
        self.bytes(kept).zeros(size - kept.len())
    }

    pub(super) fn align(&mut self, to: usize) -> &mut Self {
        let missing = self.0.len().next_multiple_of(to) - self.0.len();
        self.zeros(missing)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

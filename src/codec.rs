//! Small fixed records: fields in order, little-endian, with a checksum at the end.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// How this machine lays out the bytes of a word in memory: 0 little-endian, 1 big-endian.
pub(crate) const BYTE_ORDER: u32 = if cfg!(target_endian = "little") { 0 } else { 1 };

/// Writes fields one after another into a record.
pub(crate) struct Fields<'a>(&'a mut [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(record: &'a mut [u8]) -> Self {
        Self(record)
    }

    /// Puts the next field. A field that does not fit is cut: records have fixed sizes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let rest = std::mem::take(&mut self.0);
        let (field, rest) = rest.split_at_mut(bytes.len().min(rest.len()));
        field.copy_from_slice(&bytes[..field.len()]);
        self.0 = rest;
    }
}

/// Reads fields one after another out of a record.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    /// The next `N` bytes; zeros where the record is over: records have fixed sizes.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (bytes, rest) = self.0.split_at(N.min(self.0.len()));
        field[..bytes.len()].copy_from_slice(bytes);
        self.0 = rest;
        field
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// The checksum of `bytes`. It finds accidents, not forgeries: whoever can write the files owns
/// the limiter.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// Puts the checksum of all but the last eight bytes into those.
pub(crate) fn seal(record: &mut [u8]) {
    if let Some((body, sum)) = record.split_last_chunk_mut::<8>() {
        *sum = checksum(body).to_le_bytes();
    }
}

/// True if the last eight bytes are the checksum of the others.
pub(crate) fn sealed(record: &[u8]) -> bool {
    match record.split_last_chunk::<8>() {
        Some((body, sum)) => *sum == checksum(body).to_le_bytes(),
        None => false,
    }
}

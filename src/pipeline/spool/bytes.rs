//! Little-endian numbers in and out of byte slices, and the checksum of the spool.

/// Takes numbers from the front of a slice; `None` once it is too short.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn number(&mut self, count: usize) -> Option<u64> {
        let mut wide = [0; 8];
        wide.get_mut(..count)?.copy_from_slice(self.take(count)?);
        Some(u64::from_le_bytes(wide))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number(2).and_then(|n| n.try_into().ok())
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        self.number(3).and_then(|n| n.try_into().ok())
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number(4).and_then(|n| n.try_into().ok())
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }
}

/// Appends the low three bytes of a number.
pub(super) fn put_u24(out: &mut Vec<u8>, value: u32) {
    let [a, b, c, _] = value.to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// CRC32C of `bytes`, begun with a segment's identity, so that bytes of another segment never pass.
pub(super) fn checksum(identity: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&identity.to_le_bytes()), bytes)
}

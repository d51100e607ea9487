//! The protobuf wire format: the few pieces that LogGroups need, on plain byte buffers.
//!
//! Source: the protobuf encoding guide. Only wire types 0, 1, 2 and 5 exist in LogGroups.

/// Wire type of a varint.
pub const VARINT: u8 = 0;
/// Wire type of eight bytes.
pub const FIXED64: u8 = 1;
/// Wire type of a length and so many bytes.
pub const LENGTH_DELIMITED: u8 = 2;
/// Wire type of four bytes.
pub const FIXED32: u8 = 5;

/// The largest field number.
const MAX_FIELD: u32 = (1 << 29) - 1;

/// How many bytes `value` takes as a varint.
#[must_use]
pub const fn varint_length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a length-delimited field whose tag is the one byte `tag`.
pub fn put_bytes(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The message was not well-formed protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed protobuf message at byte {offset}")]
pub struct Malformed {
    /// Where, from the start of the outermost message.
    pub offset: usize,
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A varint field.
    Varint(u32, u64),
    /// A field of four bytes, little-endian.
    Fixed32(u32, u32),
    /// A field of eight bytes, little-endian.
    Fixed64(u32, u64),
    /// A length-delimited field.
    Bytes(u32, &'a [u8]),
}

/// Reads the fields of a message one after another, without recursion and without copying.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            base: 0,
        }
    }

    /// Reads `bytes`, which stand at `base` of an outer message: errors then say where in that.
    #[must_use]
    pub fn nested(bytes: &'a [u8], base: usize) -> Self {
        Self {
            bytes,
            position: 0,
            base,
        }
    }

    /// Where the next field starts, from the start of the outermost message.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.base + self.position
    }

    /// The next field, or `None` at the end.
    ///
    /// # Errors
    /// [`Malformed`] for a cut field, a varint of more than ten bytes, a field number that is 0 or
    /// above 2^29 - 1, a group or an unknown wire type.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset();
        let bad = Malformed { offset: start };
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| bad)?;
        if number == 0 || number > MAX_FIELD {
            return Err(bad);
        }
        let field = match (key & 7) as u8 {
            VARINT => Field::Varint(number, self.varint()?),
            FIXED64 => Field::Fixed64(number, u64::from_le_bytes(self.array()?)),
            FIXED32 => Field::Fixed32(number, u32::from_le_bytes(self.array()?)),
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).map_err(|_| bad)?;
                Field::Bytes(number, self.take(length)?)
            }
            _ => return Err(bad),
        };
        Ok(Some(field))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let bad = Malformed {
            offset: self.offset(),
        };
        let end = self.position.checked_add(length).ok_or(bad)?;
        let taken = self.bytes.get(self.position..end).ok_or(bad)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bad = Malformed {
            offset: self.offset(),
        };
        self.take(N)?.try_into().map_err(|_| bad)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let bad = Malformed {
            offset: self.offset(),
        };
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.position).ok_or(bad)?;
            self.position += 1;
            if shift == 63 && byte > 1 {
                return Err(bad);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_width() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, 8); // field 1, varint
                put_varint(&mut out, value);
                assert_eq!(out.len() - 1, varint_length(value));
                assert_eq!(
                    Reader::new(&out).next_field(),
                    Ok(Some(Field::Varint(1, value)))
                );
            }
        }
    }

    #[test]
    fn broken_messages_are_errors_that_say_where() {
        let cases: [&[u8]; 8] = [
            &[0x08],       // no value
            &[0x0a, 5, 1], // cut bytes
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ], // 2^64-1 bytes
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ], // 11 bytes
            &[0x0b],       // a group
            &[0x00, 0x00], // field 0
            &[0x80, 0x80, 0x80, 0x80, 0x10, 0x00], // field 2^29
            &[0x0d, 1, 2, 3], // cut fixed32
        ];
        for case in cases {
            assert!(Reader::new(case).next_field().is_err(), "{case:x?}");
        }
    }
}

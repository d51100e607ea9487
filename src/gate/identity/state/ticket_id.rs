//! The ids of tickets. A text that is not in the one form is refused, since an id also stands in
//! revocations, where it is compared as text.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The id of a ticket: a random UUID (RFC 9562 version 4), in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("format" = "uuid"))]
pub struct TicketId([u8; 16]);

impl TicketId {
    /// A new id; none when the system has no random numbers.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).ok()?;
        let value = u128::from_be_bytes(bytes);
        let value = (value & !(0xf << 76)) | (4 << 76);
        let value = (value & !(3 << 62)) | (2 << 62);
        Some(Self(value.to_be_bytes()))
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the id of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a ticket is a UUID in lower case, as `tollgate ticket list` prints it")]
pub struct NoTicketId;

impl FromStr for TicketId {
    type Err = NoTicketId;

    fn from_str(text: &str) -> Result<Self, NoTicketId> {
        let mut value = 0u128;
        if text.len() != 36 {
            return Err(NoTicketId);
        }
        for (index, byte) in text.bytes().enumerate() {
            let digit = match (index, byte) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return Err(NoTicketId),
                (_, b'0'..=b'9') => byte - b'0',
                (_, b'a'..=b'f') => byte - b'a' + 10,
                _ => return Err(NoTicketId),
            };
            value = value << 4 | u128::from(digit);
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl TryFrom<String> for TicketId {
    type Error = NoTicketId;

    fn try_from(text: String) -> Result<Self, NoTicketId> {
        text.parse()
    }
}

impl From<TicketId> for String {
    fn from(id: TicketId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_random_uuid_and_reads_as_it_prints() {
        let id = TicketId::random().unwrap();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_ne!(TicketId::random().unwrap(), id);
        let published = "e0f7faec-e9b1-48ac-94d0-884fe3b1d43d";
        assert_eq!(
            published.parse::<TicketId>().unwrap().to_string(),
            published
        );
        for bad in [
            "",
            "E0F7FAEC-e9b1-48ac-94d0-884fe3b1d43d",
            "e0f7faece9b1-48ac-94d0-884fe3b1d43d-",
            "e0f7faec-e9b1-48ac-94d0-884fe3b1d43",
            "../../../../../../../../../etc/passw",
        ] {
            assert!(bad.parse::<TicketId>().is_err(), "{bad}");
        }
    }
}

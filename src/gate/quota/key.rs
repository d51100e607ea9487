//! What a limit tells apart.
//!
//! A key is made of parts. Each part of a request is hashed in its order, with a tag and its length,
//! so that no two keys run together. Parts that only the client's own word stands behind (headers,
//! cookies, topics, what an unverified credential says) count for known callers alone: of anyone else
//! the address stands in their place, so that nobody gets a fresh limit by changing a word.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::facts::{EventPart, Facts};
pub use crate::config::{Part, PartError, Stage};

/// How the keys of limits are hashed: by a seed that is new in each process, or that was kept with
/// what is kept of the limit.
pub type Seed = foldhash::quality::SeedableRandomState;

/// The parts of a key, and how addresses are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The parts, in their order.
    pub parts: Box<[Part]>,
    /// Bits of an IPv4 address that count.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that count.
    pub ipv6_prefix: u8,
}

/// What a part of a request says.
enum Value<'a> {
    Bytes(std::borrow::Cow<'a, [u8]>),
    Address(IpAddr),
    /// Nobody that is known said it: the address stands for it.
    Unknown(IpAddr),
    Missing,
}

const MISSING: u8 = 0;
const BYTES: u8 = 1;
const ADDRESS: u8 = 2;
const UNKNOWN: u8 = 3;

/// What stands before the address of a caller that is not known, in the text of a key.
const UNKNOWN_AT: &str = "unknown@";

impl Shape {
    /// From when on every part is known.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stages = self.parts.iter().map(Part::stage);
        stages.max().unwrap_or(Stage::Door)
    }

    /// Whether single events are told apart by it.
    #[must_use]
    pub fn tells_events_apart(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Event(_)))
    }

    /// The hash of a request's key. `event` is the event that is asked for, where events are told
    /// apart.
    #[must_use]
    pub fn hash(&self, seed: &Seed, facts: &Facts<'_>, event: Option<EventPart<'_>>) -> u64 {
        let mut hasher = seed.build_hasher();
        for part in &self.parts {
            put(&mut hasher, &self.value(part, facts, event));
        }
        hasher.finish()
    }

    /// The key as text: `address=203.0.113.7,logstore=web`.
    #[must_use]
    pub fn text(&self, facts: &Facts<'_>, event: Option<EventPart<'_>>) -> String {
        if self.parts.is_empty() {
            return "all".to_owned();
        }
        let mut text = String::with_capacity(48);
        for part in &self.parts {
            if !text.is_empty() {
                text.push(',');
            }
            let value = match self.value(part, facts, event) {
                Value::Bytes(bytes) => escaped(&bytes),
                Value::Address(address) => self.address_text(address),
                Value::Unknown(address) => format!("{UNKNOWN_AT}{}", self.address_text(address)),
                Value::Missing => String::new(),
            };
            text.push_str(&format!("{part}={value}"));
        }
        text
    }

    /// The hash of a key that is given as text, in the form of [`Shape::text`].
    ///
    /// # Errors
    /// What is wrong with the text, and what it should hold.
    pub fn hash_of_text(&self, seed: &Seed, text: &str) -> Result<u64, String> {
        let wanted = || {
            let parts: Vec<String> = self
                .parts
                .iter()
                .map(|part| format!("{part}=..."))
                .collect();
            match parts.is_empty() {
                true => "the limit has one key: write `all`".to_owned(),
                false => format!("write `{}`", parts.join(",")),
            }
        };
        let mut hasher = seed.build_hasher();
        let mut rest = text;
        if self.parts.is_empty() && text != "all" {
            return Err(wanted());
        }
        for (index, part) in self.parts.iter().enumerate() {
            let name = format!("{part}=");
            rest = rest.strip_prefix(&name).ok_or_else(wanted)?;
            let next = self.parts.get(index + 1).map(|next| format!(",{next}="));
            let end = next
                .as_ref()
                .map_or(Some(rest.len()), |next| rest.find(next.as_str()));
            let (value, after) = rest.split_at(end.ok_or_else(wanted)?);
            rest = after.strip_prefix(',').unwrap_or(after);
            let address = |text: &str| self.read_address(text);
            let value = match part {
                Part::Address => Value::Address(self.cut(address(value)?)),
                _ => match value.strip_prefix(UNKNOWN_AT) {
                    Some(at) => Value::Unknown(self.cut(address(at)?)),
                    None if value.is_empty() => Value::Missing,
                    None => Value::Bytes(unescaped(value).into()),
                },
            };
            put(&mut hasher, &value);
        }
        Ok(hasher.finish())
    }

    fn value<'a>(&self, part: &Part, facts: &Facts<'a>, event: Option<EventPart<'a>>) -> Value<'a> {
        let known = facts.caller_is_known();
        let said = |value: Option<std::borrow::Cow<'a, [u8]>>| match value {
            Some(value) if !value.is_empty() => Value::Bytes(value),
            _ => Value::Missing,
        };
        match part {
            Part::Address => Value::Address(self.cut(facts.address)),
            Part::Project => Value::Bytes(facts.project.as_bytes().into()),
            Part::Logstore => Value::Bytes(facts.logstore.as_bytes().into()),
            _ if !known => Value::Unknown(self.cut(facts.address)),
            Part::Credential => said(facts.credential()),
            Part::Subject => said(facts.subject()),
            Part::Claim(name) => said(facts.claim(name)),
            Part::Header(name) => said(facts.words.header(name).map(Into::into)),
            Part::Cookie(name) => said(facts.words.cookie(name).map(Into::into)),
            Part::Origin => said(facts.words.origin().map(Into::into)),
            Part::Topic => said(Some(facts.topic.into())),
            Part::Event(name) => said(event.and_then(|event| event.field(name)).map(Into::into)),
        }
    }

    /// An address as [`Shape::text`] shows it: a prefix may be named if it is that of the limit.
    fn read_address(&self, text: &str) -> Result<IpAddr, String> {
        let (bare, bits) = match text.split_once('/') {
            Some((bare, bits)) => (bare, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = bare
            .parse()
            .map_err(|_| format!("`{text}` is no address"))?;
        let own = match address.to_canonical() {
            IpAddr::V4(_) => self.ipv4_prefix,
            IpAddr::V6(_) => self.ipv6_prefix,
        };
        match bits {
            Some(bits) if bits != own.to_string() => Err(format!(
                "the limit tells networks of /{own} apart: it has no key `{text}`"
            )),
            _ => Ok(address),
        }
    }

    fn cut(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u32::from(self.ipv4_prefix.min(32));
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let bits = u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    fn address_text(&self, address: IpAddr) -> String {
        match address {
            IpAddr::V4(_) if self.ipv4_prefix < 32 => format!("{address}/{}", self.ipv4_prefix),
            IpAddr::V6(_) if self.ipv6_prefix < 128 => format!("{address}/{}", self.ipv6_prefix),
            _ => address.to_string(),
        }
    }
}

fn put(hasher: &mut impl Hasher, value: &Value<'_>) {
    let address = |hasher: &mut dyn Hasher, tag: u8, address: &IpAddr| {
        hasher.write_u8(tag);
        match address {
            IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
            IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
        }
    };
    match value {
        Value::Missing => hasher.write_u8(MISSING),
        Value::Address(at) => address(hasher, ADDRESS, at),
        Value::Unknown(at) => address(hasher, UNKNOWN, at),
        Value::Bytes(bytes) => {
            hasher.write_u8(BYTES);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    }
}

/// Printable ASCII as it stands, but for `\` and the comma; all else as `\xNN`. What looks like the
/// address of an unknown caller gets its first letter escaped.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let looks_unknown = bytes.starts_with(UNKNOWN_AT.as_bytes());
    for (index, byte) in bytes.iter().enumerate() {
        let plain = (byte.is_ascii_graphic() || *byte == b' ') && !b"\\,".contains(byte);
        if plain && !(looks_unknown && index == 0) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.strip_prefix(b"x").and_then(|digits| {
            let digits = std::str::from_utf8(digits.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escape {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

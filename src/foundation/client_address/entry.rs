//! One entry of a header that names proxies and their clients.
//!
//! Sources: RFC 7239 (`Forwarded`); `X-Forwarded-For` has no standard, so what proxies write is
//! taken: an address, one with a port, an IPv6 address with or without brackets. Zones (`%eth0`) are
//! refused: they mean nothing on another machine.

use std::net::{IpAddr, Ipv6Addr};

/// Why an entry names no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not an address in any form that is taken.
    Malformed,
    /// It says that the address is not told: `unknown`, `_name`, or no `for` at all.
    Hidden,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) address: IpAddr,
    /// Whether the client spoke TLS, if it says so.
    pub(super) secure: Option<bool>,
}

/// The entries of a header line from the last to the first. A comma in quotes does not part them.
///
/// Quotes are paired from the right: an open one that a client left behind cannot swallow what a
/// proxy appended.
pub(super) fn from_the_right(line: &[u8], quotes: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        let comma = line.iter().rposition(|byte| {
            quoted ^= quotes && *byte == b'"';
            *byte == b',' && !quoted
        });
        let (before, entry) = match comma.and_then(|at| line.split_at_checked(at)) {
            Some((before, entry)) => (Some(before), entry.get(1..).unwrap_or_default()),
            None => (None, line),
        };
        rest = before;
        Some(entry.trim_ascii())
    })
}

impl Entry {
    /// Reads an entry of `X-Forwarded-For`.
    pub(super) fn plain(text: &[u8]) -> Result<Self, Unusable> {
        Ok(Self {
            address: node(text)?,
            secure: None,
        })
    }

    /// Reads an entry of `Forwarded`. Each parameter may stand once. Escapes in quotes are refused:
    /// no address or scheme needs one.
    pub(super) fn forwarded(text: &[u8]) -> Result<Self, Unusable> {
        let (mut address, mut proto) = (None, None);
        let mut quoted = false;
        let pairs = text.split(|byte| {
            quoted ^= *byte == b'"';
            *byte == b';' && !quoted
        });
        for pair in pairs {
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = equals
                .and_then(|at| pair.split_at_checked(at))
                .ok_or(Unusable::Malformed)?;
            let (name, value) = (
                name.trim_ascii(),
                unquoted(value.get(1..).unwrap_or_default())?,
            );
            if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
                return Err(Unusable::Malformed);
            }
            let place = if name.eq_ignore_ascii_case(b"for") {
                &mut address
            } else if name.eq_ignore_ascii_case(b"proto") {
                &mut proto
            } else {
                continue;
            };
            if place.replace(value).is_some() {
                return Err(Unusable::Malformed);
            }
        }
        Ok(Self {
            address: node(address.ok_or(Unusable::Hidden)?)?,
            secure: proto.and_then(scheme),
        })
    }
}

/// Whether a scheme is one over TLS; `None` for one that is neither.
pub(super) fn scheme(word: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") {
        Some(true)
    } else if is(b"http") || is(b"ws") {
        Some(false)
    } else {
        None
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A value without its quotes.
fn unquoted(value: &[u8]) -> Result<&[u8], Unusable> {
    let value = value.trim_ascii();
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare if bare.iter().any(u8::is_ascii_whitespace) => return Err(Unusable::Malformed),
        bare => bare,
    };
    if inner.is_empty() || inner.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return Err(Unusable::Malformed);
    }
    Ok(inner)
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown`, `_x`.
fn node(text: &[u8]) -> Result<IpAddr, Unusable> {
    let text = std::str::from_utf8(text).map_err(|_| Unusable::Malformed)?;
    if let Some(inside) = text.strip_prefix('[') {
        let (address, port) = inside.split_once(']').ok_or(Unusable::Malformed)?;
        let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().map_err(|_| Unusable::Malformed)?;
        return if port_is_good {
            Ok(IpAddr::V6(address).to_canonical())
        } else {
            Err(Unusable::Malformed)
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical());
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    if !port.is_none_or(is_port) {
        return Err(Unusable::Malformed);
    }
    let hidden = name.strip_prefix('_');
    if name.eq_ignore_ascii_case("unknown") || hidden.is_some_and(is_obfuscated) {
        return Err(Unusable::Hidden);
    }
    let address = name.parse().map_err(|_| Unusable::Malformed)?;
    Ok(IpAddr::V4(address))
}

/// A number up to 65535, or an obfuscated port.
fn is_port(text: &str) -> bool {
    let number = || text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('_').is_some_and(is_obfuscated) || (number() && text.parse::<u16>().is_ok())
}

/// What follows the `_` of an obfuscated name.
fn is_obfuscated(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(allowed)
}

//! What steps may know of the request that brought the events.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use crate::config::{Piece, RefererForm, TemplateFact, TimeFormat};

use super::draft::Draft;

/// Bytes of a header that are looked at.
pub(super) const MAX_HEADER: usize = 2048;

/// What steps may know of the request that brought the events.
#[derive(Clone, Copy, Debug)]
pub struct TransformFacts<'a> {
    /// The client's address.
    pub client_address: IpAddr,
    /// The User-Agent header; empty when there is none.
    pub user_agent: &'a [u8],
    /// The Referer header without secrets; empty when there is none.
    pub referer: &'a [u8],
    /// Whether it says `DNT: 1`.
    pub do_not_track: bool,
    /// Whether it says `Sec-GPC: 1`.
    pub global_privacy_control: bool,
    /// When it came, in seconds since 1970.
    pub received: u64,
    /// The name of this node.
    pub server_id: &'a str,
    /// The topic of the events.
    pub topic: &'a [u8],
    /// The source of the events.
    pub source: &'a [u8],
}

/// Appends bytes as text: what is no UTF-8 is replaced.
pub(super) fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The beginning of a header, as far as it is looked at.
pub(super) fn head_of(header: &[u8]) -> &[u8] {
    header.get(..MAX_HEADER).unwrap_or(header)
}

/// Appends what can be shown. A `Vec` takes everything.
pub(super) fn put_shown(out: &mut Vec<u8>, shown: impl std::fmt::Display) {
    // Writing to memory does not fail.
    write!(out, "{shown}").unwrap_or_default();
}

/// Appends the time at which a request came.
pub(super) fn put_time(out: &mut Vec<u8>, received: u64, format: TimeFormat) {
    match format {
        TimeFormat::Unix => put_shown(out, received),
        TimeFormat::Rfc3339 => {
            // Past the year 9999 there is no such form.
            let seconds = received.min(253_402_300_799);
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            put_shown(out, humantime::format_rfc3339_seconds(moment));
        }
    }
}

/// Appends a Referer.
pub(super) fn put_referer(out: &mut Vec<u8>, referer: &[u8], form: RefererForm) {
    let referer = head_of(referer);
    let cut = match form {
        RefererForm::Whole => referer.len(),
        RefererForm::WithoutQuery => end_of(referer, 0, b"?#"),
        RefererForm::Origin => {
            let scheme = memchr::memmem::find(referer, b"://").map_or(0, |at| at + 3);
            end_of(referer, scheme, b"/?#\\")
        }
    };
    let kept = referer.get(..cut).unwrap_or_default();
    // Credentials before a host are nobody's business.
    if form != RefererForm::Whole
        && let Some(scheme) = memchr::memmem::find(kept, b"://").map(|at| at + 3)
    {
        let host_end = end_of(kept, scheme, b"/?#\\");
        let authority = kept.get(scheme..host_end).unwrap_or_default();
        if let Some(at) = memchr::memrchr(b'@', authority) {
            put_text(out, kept.get(..scheme).unwrap_or_default());
            put_text(out, kept.get(scheme + at + 1..).unwrap_or_default());
            return;
        }
    }
    put_text(out, kept);
}

fn end_of(text: &[u8], from: usize, ends: &[u8]) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().position(|byte| ends.contains(byte));
    length.map_or(text.len(), |length| from + length)
}

/// An address cut to its first bits.
pub(super) fn network_of(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32)));
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or(0)))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128)));
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0)))
        }
    }
}

/// Appends a template with its parts. False: one of them is missing.
pub(super) fn render(
    pieces: &[Piece],
    draft: &Draft<'_>,
    facts: &TransformFacts<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let mut whole = true;
    for piece in pieces {
        let before = out.len();
        match piece {
            Piece::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                continue;
            }
            Piece::Field(name) => {
                match draft.value(name.as_bytes()) {
                    Some(value) => out.extend_from_slice(value),
                    None => whole = false,
                }
                continue;
            }
            Piece::Fact(fact) => match fact {
                TemplateFact::ClientAddress => put_shown(out, facts.client_address.to_canonical()),
                TemplateFact::UserAgent => put_text(out, head_of(facts.user_agent)),
                TemplateFact::Referer => put_text(out, head_of(facts.referer)),
                TemplateFact::ReceiveTime => put_shown(out, facts.received),
                TemplateFact::ServerId => out.extend_from_slice(facts.server_id.as_bytes()),
                TemplateFact::Topic => put_text(out, facts.topic),
                TemplateFact::Source => put_text(out, facts.source),
            },
        }
        whole &= out.len() > before;
    }
    whole
}

//! How many connections each network holds, and how fast it opens them.
//!
//! Bound: a network is kept for as long as it has a connection, so the table never has more entries
//! than `max_connections`; `record` is bounded apart. At a network's own limit its next connection is
//! closed at once.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::record::{Record, TooFast};
use crate::config::Ingest;
use crate::foundation::units::Span;
use crate::telemetry::ConnectionEnd;

/// Connections of each network that has any.
type Counts = DashMap<u128, u32, foldhash::quality::RandomState>;

/// The counts of all networks.
#[derive(Debug)]
pub(super) struct Prefixes {
    rules: Rules,
    counts: Arc<Counts>,
    record: Option<Record>,
}

/// What a configuration says of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    most: u32,
    rate: u32,
    refusal_delay: Span,
    v4_bits: u8,
    v6_bits: u8,
}

impl Rules {
    fn of(ingest: &Ingest) -> Self {
        Self {
            most: ingest.max_connections_per_prefix,
            rate: ingest.connection_rate_per_prefix,
            refusal_delay: ingest.refusal_delay,
            v4_bits: ingest.prefix_v4,
            v6_bits: ingest.prefix_v6,
        }
    }
}

impl Prefixes {
    /// Those of a configuration. Where networks are as wide as before, the connections that are open count
    /// on, and where nothing has changed at all, what is remembered of them is kept.
    pub(super) fn after(ingest: &Ingest, before: Option<&Arc<Self>>) -> Arc<Self> {
        let rules = Rules::of(ingest);
        match before {
            Some(before) if before.rules == rules => return Arc::clone(before),
            _ => {}
        }
        let same_width = |it: &&Arc<Self>| {
            (it.rules.v4_bits, it.rules.v6_bits) == (rules.v4_bits, rules.v6_bits)
        };
        let counts = before.filter(same_width).map(|it| Arc::clone(&it.counts));
        Arc::new(Self {
            counts: counts.unwrap_or_default(),
            record: Record::new(ingest),
            rules,
        })
    }

    /// Counts a connection of this address.
    ///
    /// # Errors
    /// Why it is to be closed: its network has as many as it may, or opens them too fast.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Slot, ConnectionEnd> {
        let network = self.network(address);
        match self.counts.entry(network) {
            Entry::Vacant(free) => {
                free.insert(1);
            }
            Entry::Occupied(mut taken) => {
                let count = taken.get_mut();
                if *count >= self.rules.most {
                    return Err(ConnectionEnd::PrefixLimit);
                }
                *count += 1;
            }
        }
        // From here on it is counted until it is dropped.
        let slot = Slot {
            prefixes: Arc::clone(self),
            network,
        };
        let record = self.record.as_ref();
        match record.map_or(Ok(()), |record| record.connects(network)) {
            Ok(()) => Ok(slot),
            Err(TooFast) => Err(ConnectionEnd::PrefixRate),
        }
    }

    /// The network of an address as a number. IPv4 lies in the mapped part of IPv6, which no client
    /// of IPv6 comes from.
    fn network(&self, address: IpAddr) -> u128 {
        let (bits, whole) = match address.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96 + self.rules.v4_bits),
            IpAddr::V6(v6) => (v6.to_bits(), self.rules.v6_bits),
        };
        let host = 128_u32.saturating_sub(u32::from(whole));
        bits.checked_shr(host).map_or(0, |network| network << host)
    }
}

/// A connection that counts for its network until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    prefixes: Arc<Prefixes>,
    network: u128,
}

impl Slot {
    /// A request of its network was refused.
    pub(super) fn refused(&self) {
        if let Some(record) = &self.prefixes.record {
            record.refused(self.network);
        }
    }

    /// Refusals of its network that are not forgotten yet.
    pub(super) fn refusals(&self) -> u32 {
        let record = self.prefixes.record.as_ref();
        record.map_or(0, |record| record.refusals(self.network))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.prefixes.counts.entry(self.network) {
            let count = taken.get_mut();
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(most: u32) -> Arc<Prefixes> {
        let ingest = Ingest {
            max_connections_per_prefix: most,
            ..Ingest::default()
        };
        Prefixes::after(&ingest, None)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_connections_and_no_more_and_is_forgotten_when_empty() {
        let prefixes = prefixes(2);
        let one = prefixes.enter(ip("192.0.2.1")).unwrap();
        let two = prefixes.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(prefixes.enter(ip("192.0.2.1")).is_err());
        let other = prefixes.enter(ip("192.0.2.2")).unwrap();
        let six = prefixes.enter(ip("2001:db8:1:2::1")).unwrap();
        let same = prefixes.enter(ip("2001:db8:1:2:ffff::9")).unwrap();
        assert!(prefixes.enter(ip("2001:db8:1:2:3::")).is_err());
        assert!(prefixes.enter(ip("2001:db8:1:3::1")).is_ok());
        drop(one);
        let again = prefixes.enter(ip("192.0.2.1")).unwrap();
        drop((two, other, six, same, again));
        assert!(prefixes.counts.is_empty());
    }

    #[test]
    fn connections_that_are_open_count_for_the_next_configuration() {
        let before = prefixes(2);
        let (one, two) = (
            before.enter(ip("192.0.2.1")).unwrap(),
            before.enter(ip("192.0.2.1")).unwrap(),
        );
        let ingest = Ingest {
            max_connections_per_prefix: 1,
            ..Ingest::default()
        };
        let now = Prefixes::after(&ingest, Some(&before));
        assert!(now.enter(ip("192.0.2.1")).is_err());
        drop((one, two));
        let again = now.enter(ip("192.0.2.1")).unwrap();
        assert!(
            before.enter(ip("192.0.2.1")).is_ok(),
            "by the bound that it began with"
        );
        drop(again);
        assert!(now.counts.is_empty());
        assert!(Arc::ptr_eq(&Prefixes::after(&ingest, Some(&now)), &now));
        let wider = Ingest {
            prefix_v4: 24,
            ..ingest
        };
        assert!(!Arc::ptr_eq(
            &Prefixes::after(&wider, Some(&now)).counts,
            &now.counts
        ));
    }

    #[test]
    fn networks_may_be_as_wide_as_all_and_as_narrow_as_one() {
        for (v4, v6, together) in [(0, 0, true), (32, 128, false)] {
            let ingest = Ingest {
                max_connections_per_prefix: 1,
                prefix_v4: v4,
                prefix_v6: v6,
                ..Ingest::default()
            };
            let prefixes = Prefixes::after(&ingest, None);
            let _one = prefixes.enter(ip("10.0.0.1")).unwrap();
            assert_eq!(prefixes.enter(ip("203.0.113.9")).is_err(), together);
            let _six = prefixes.enter(ip("2001:db8::1"));
            assert_eq!(prefixes.enter(ip("2001:db8::2")).is_err(), together);
        }
    }
}

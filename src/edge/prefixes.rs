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
use crate::telemetry::ConnectionEnd;

/// The counts of all networks.
#[derive(Debug)]
pub(super) struct Prefixes {
    most: u32,
    v4_bits: u8,
    v6_bits: u8,
    counts: DashMap<u128, u32, foldhash::quality::RandomState>,
    record: Option<Record>,
}

impl Prefixes {
    pub(super) fn new(ingest: &Ingest) -> Arc<Self> {
        Arc::new(Self {
            most: ingest.max_connections_per_prefix,
            v4_bits: ingest.prefix_v4,
            v6_bits: ingest.prefix_v6,
            counts: DashMap::default(),
            record: Record::new(ingest),
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
                if *count >= self.most {
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
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96 + self.v4_bits),
            IpAddr::V6(v6) => (v6.to_bits(), self.v6_bits),
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
        Prefixes::new(&Ingest {
            max_connections_per_prefix: most,
            ..Ingest::default()
        })
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
    fn networks_may_be_as_wide_as_all_and_as_narrow_as_one() {
        for (v4, v6, together) in [(0, 0, true), (32, 128, false)] {
            let prefixes = Prefixes::new(&Ingest {
                max_connections_per_prefix: 1,
                prefix_v4: v4,
                prefix_v6: v6,
                ..Ingest::default()
            });
            let _one = prefixes.enter(ip("10.0.0.1")).unwrap();
            assert_eq!(prefixes.enter(ip("203.0.113.9")).is_err(), together);
            let _six = prefixes.enter(ip("2001:db8::1"));
            assert_eq!(prefixes.enter(ip("2001:db8::2")).is_err(), together);
        }
    }
}

//! Wrong credentials, counted by where they come from: after so many in a minute further wrong ones of
//! an address are told to wait.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::foundation::peers::sender_of;

/// Addresses that are told apart; when so many have sent wrong ones within a minute, all others are
/// counted as one.
const MOST: usize = 1024;
const MINUTE: u64 = 60;

/// What was wrong of late.
#[derive(Debug)]
pub(super) struct WrongLogins {
    per_minute: u32,
    table: Mutex<BTreeMap<IpAddr, Count>>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: u64,
    wrong: u32,
}

impl WrongLogins {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            table: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Count>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a wrong one: the seconds that it is told to wait, if there were too many before.
    pub(super) fn note(&self, peer: IpAddr, now: u64) -> Option<u64> {
        let mut table = self.lock();
        if table.len() >= MOST {
            table.retain(|_, count| now.saturating_sub(count.since) < MINUTE);
        }
        let place = place(&table, peer);
        let fresh = Count {
            since: now,
            wrong: 0,
        };
        let count = table.entry(place).or_insert(fresh);
        if now.saturating_sub(count.since) >= MINUTE {
            *count = fresh;
        }
        let too_many = count.wrong >= self.per_minute;
        count.wrong = count.wrong.saturating_add(1);
        too_many.then(|| (count.since + MINUTE).saturating_sub(now).max(1))
    }
}

/// Where an address is counted.
fn place(table: &BTreeMap<IpAddr, Count>, peer: IpAddr) -> IpAddr {
    let own = sender_of(peer);
    if table.len() < MOST || table.contains_key(&own) {
        own
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn an_address_waits_out_its_minute_and_others_do_not() {
        let logins = WrongLogins::new(3);
        for second in 0..3 {
            assert_eq!(logins.note(v4(1), 100 + second), None);
        }
        assert_eq!(logins.note(v4(1), 103), Some(57));
        assert_eq!(logins.note(v4(2), 103), None);
        assert_eq!(logins.note(v4(1), 160), None, "a new minute");
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let logins = WrongLogins::new(1);
        assert_eq!(logins.note("2001:db8::1".parse().unwrap(), 0), None);
        assert!(logins.note("2001:db8::2".parse().unwrap(), 1).is_some());
        assert!(logins.note("2001:db8:1::2".parse().unwrap(), 1).is_none());
    }

    #[test]
    fn a_flood_of_addresses_is_counted_as_one_and_takes_no_more_room() {
        let logins = WrongLogins::new(2);
        for address in 0..5000 {
            logins.note(v4(address), 10);
        }
        assert!(logins.lock().len() <= MOST + 1);
        assert!(logins.note(v4(1_000_000), 11).is_some());
        assert!(logins.note(v4(0), 11).is_none(), "known, and wrong once");
        assert!(logins.note(v4(1_000_000), 71).is_none());
    }
}

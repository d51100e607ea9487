//! The client's address as a field.

use std::net::IpAddr;

use super::facts::{network_of, put_shown};
use super::hash::{HashForm, HashKey};

/// A step that writes the client's address.
#[derive(Debug)]
pub(super) struct AddressStep {
    pub(super) field: Box<[u8]>,
    pub(super) ipv4_prefix: u8,
    pub(super) ipv6_prefix: u8,
    pub(super) key: Option<HashKey>,
}

impl AddressStep {
    /// Appends the address as the step writes it.
    pub(super) fn put(&self, address: IpAddr, out: &mut Vec<u8>) {
        put_shown(out, network_of(address, self.ipv4_prefix, self.ipv6_prefix));
        if let Some(key) = &self.key {
            let hash = key.of_text(out);
            out.clear();
            HashForm::WHOLE.put(&hash, out);
        }
    }
}

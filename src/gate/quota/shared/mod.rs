//! Limits that nodes share, and what else all of them have to know.
//!
//! Promise: no request waits for the store. A shared limit takes units from it in advance ([`Lease`]),
//! which bounds what all nodes together admit; while it is away each node goes on with its share of
//! the limit or refuses, as `without_store` says. The same connection carries revocations, bans and
//! raises to all nodes ([`Ledger`]).
//! Not here: what one node counts for itself (`bucket`).

mod desk;
mod lease;
mod ledgers;
mod link;
mod news;
mod probe;
mod script;
mod status;

pub use self::desk::Store;
pub use self::lease::{Lease, Word};
pub use self::ledgers::{OverrideBook, OverrideLedger, RevocationLedger};
pub use self::news::{Item, Ledger};
pub use self::probe::{StoreProbe, probe};
pub use self::status::{Status, StoreFault, StoreFigures};

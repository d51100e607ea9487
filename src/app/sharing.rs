//! What this node shares with others: limits, revocations, bans and raises.

use std::sync::Arc;

use crate::config::Config;
use crate::gate::identity::state::IdentityState;
use crate::gate::quota::Overrides;
use crate::gate::quota::shared::{Ledger, OverrideBook, OverrideLedger, RevocationLedger, Store};

/// The store that nodes share limits through, if there is one. Nothing is connected yet.
pub(super) fn store(config: &Config) -> Option<Arc<Store>> {
    let redis = config.quota.store()?;
    // Without random numbers nothing else starts; the process id tells nodes apart well enough.
    let name = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
    Some(Store::new(redis, format!("{name:016x}")))
}

/// What all nodes have to know.
pub(super) fn ledgers(
    state: &Arc<IdentityState>,
    overrides: &Arc<Overrides>,
) -> Vec<Arc<dyn Ledger>> {
    let book: Arc<dyn OverrideBook> = Arc::<Overrides>::clone(overrides);
    vec![
        RevocationLedger::new(Arc::clone(state)),
        OverrideLedger::new(book),
    ]
}

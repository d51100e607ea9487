//! What this node shares with others: limits, revocations, bans and raises.

use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::gate::identity::state::IdentityState;
use crate::gate::quota::shared::{Ledger, RevocationLedger, Store};

/// The store that nodes share limits through, if there is one. Nothing is connected yet.
pub(super) fn store(config: &Config) -> Result<Option<Arc<Store>>, StartError> {
    let Some(redis) = config.quota.store() else {
        return Ok(None);
    };
    let name = getrandom::u64().map_err(|error| StartError::Limits(error.to_string()))?;
    Ok(Some(Store::new(redis, format!("{name:016x}"))))
}

/// What all nodes have to know.
pub(super) fn ledgers(state: &Arc<IdentityState>) -> Vec<Arc<dyn Ledger>> {
    vec![RevocationLedger::new(Arc::clone(state))]
}
